"""What a sample of a profile is about: one category and one context for each, by the functions of its stack."""

import pytest

from harness.analysis import profile_rules as rules
from harness.analysis.profile_rules import CATEGORIES, KERNEL, NOT_OF_REQUESTS, Frame, Stack

PYTHON = Frame("_PyEval_EvalFrameDefault", "/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0")
LOOP = Frame("uv__io_poll", "/opt/venv/lib/python3.11/site-packages/uvloop/loop.cpython-311-x86_64-linux-gnu.so")
CALL = "do_syscall_64 entry_SYSCALL_64_after_hwframe"
INTERRUPT = "__irq_exit_rcu sysvec_call_function_single asm_sysvec_call_function_single"
HALT = "pv_native_safe_halt default_idle default_enter_idle cpuidle_enter do_idle"
RECEIVE = "tcp_v4_rcv ip_local_deliver __netif_receive_skb_one_core process_backlog __napi_poll net_rx_action"


def stack(kernel: str, *program: Frame) -> Stack:
    return [*(Frame(name, KERNEL) for name in kernel.split()), *program]


def code(file: str, symbol: str = "work") -> Stack:
    return [Frame(symbol, file), Frame("[unknown]", "[unknown]")]


@pytest.mark.parametrize(
    ("sampled", "category", "context"),
    [
        pytest.param(
            stack(f"tcp_recvmsg_locked tcp_recvmsg sock_read_iter vfs_read ksys_read {CALL}", PYTHON),
            "TCP receive", "read", id="in a system call",
        ),
        pytest.param(
            stack(f"memcpy_orig skb_release_data tcp_ack tcp_v4_rcv do_softirq __x64_sys_sendto {CALL}", PYTHON),
            "memory", "sendto", id="a helper belongs to its caller",
        ),
        pytest.param(
            stack(f"_raw_spin_lock tcp_write_xmit tcp_sendmsg __sys_sendto __x64_sys_sendto {CALL}", PYTHON),
            "TCP transmit", "sendto", id="a lock that is free belongs to who takes it",
        ),
        pytest.param(
            stack(f"native_queued_spin_lock_slowpath _raw_spin_lock tcp_write_xmit __x64_sys_sendto {CALL}", PYTHON),
            "locks", "sendto", id="a lock that is not",
        ),
        pytest.param(
            stack(f"{RECEIVE} handle_softirqs do_softirq.part.0 __local_bh_enable_ip __dev_queue_xmit tcp_sendmsg "
                  f"__x64_sys_sendto {CALL}", PYTHON),
            "TCP receive", "softirq", id="a softirq in a system call",
        ),
        pytest.param(
            stack(f"br_handle_frame __netif_receive_skb_core.constprop.0 net_rx_action handle_softirqs {INTERRUPT}",
                  PYTHON),
            "network device and bridge", "softirq", id="the code of an interrupted program is not what ran",
        ),
        pytest.param(
            stack(f"{RECEIVE} handle_softirqs {INTERRUPT} {HALT}"),
            "TCP receive", "softirq", id="a softirq of an idle CPU",
        ),
        pytest.param(stack(f"handle_softirqs {INTERRUPT}", PYTHON), "interrupts", "softirq", id="after an interrupt"),
        pytest.param(
            stack(f"handle_softirqs {INTERRUPT} {HALT}"),
            "leaving idle", "leaving idle", id="an interrupt wakes the CPU",
        ),
        pytest.param(
            stack(f"native_write_msr x2apic_send_IPI net_rps_send_ipi net_rx_action handle_softirqs {INTERRUPT}"),
            "interrupting other CPUs", "softirq", id="interrupting another CPU",
        ),
        pytest.param(
            stack(f"handle_softirqs {INTERRUPT} finish_task_switch.isra.0 __schedule schedule_idle do_idle"),
            "interrupts", "softirq", id="an interrupt as the CPU goes on with a program",
        ),
        pytest.param(stack(HALT), "idle", "idle", id="idle"),
        pytest.param(
            stack("finish_task_switch.isra.0 __schedule schedule_idle do_idle cpu_startup_entry"),
            "scheduler", "scheduler", id="the CPU goes on with a program",
        ),
        pytest.param(
            stack(f"vfs_writev do_writev {CALL}", PYTHON), "sockets, files, other calls", "writev", id="inlined"
        ),
        pytest.param(stack(f"do_mmap vm_mmap_pgoff {CALL}", PYTHON), "memory", "mmap", id="a call by its other name"),
        pytest.param(
            stack(f"finish_task_switch.isra.0 __schedule schedule do_epoll_wait __x64_sys_epoll_wait {CALL}", PYTHON),
            "scheduler", "epoll_wait", id="asleep in a system call",
        ),
        pytest.param(
            stack(f"inet_csk_accept inet_accept do_accept __sys_accept4 __x64_sys_accept4 {CALL}", PYTHON),
            "connections (open, accept, close)", "accept4", id="accepting",
        ),
        pytest.param(
            stack(f"mutex_lock do_epoll_ctl __x64_sys_epoll_ctl {CALL}", PYTHON),
            "waiting for events (epoll)", "epoll_ctl", id="a lock of another kind that is free",
        ),
        pytest.param(
            stack(f"__mutex_lock.constprop.0 do_epoll_ctl __x64_sys_epoll_ctl {CALL}", PYTHON),
            "locks", "epoll_ctl", id="one that is not",
        ),
        pytest.param(
            stack(f"_raw_spin_unlock_irqrestore sock_def_readable {RECEIVE} handle_softirqs {INTERRUPT}"),
            "scheduler", "softirq", id="who waits for a socket is woken with interrupts off",
        ),
        pytest.param(
            stack(f"_raw_spin_unlock_irqrestore __mod_timer sk_reset_timer {RECEIVE} handle_softirqs {INTERRUPT}"),
            "timers", "softirq", id="another that switches interrupts on",
        ),
        pytest.param(
            [Frame("bpf_prog_6deef7357e7b4530", "bpf_prog_6deef7357e7b4530"),
             *stack(f"reuseport_select_sock {RECEIVE} handle_softirqs {INTERRUPT}", PYTHON)],
            "network device and bridge", "softirq", id="what the kernel has compiled of BPF",
        ),
        pytest.param(
            [Frame("nft_do_chain", "/lib/modules/6.1/kernel/net/nf_tables.ko.xz"),
             Frame("tcp_sendmsg", "/usr/lib/debug/boot/vmlinux-6.1"),
             Frame("__x64_sys_sendto", "/usr/lib/debug/boot/vmlinux-6.1"), PYTHON],
            "network device and bridge", "sendto", id="the kernel by its files of debug symbols",
        ),
        pytest.param(
            stack("tcp_sendmsg sock_sendmsg io_send io_issue_sqe io_wq_submit_work io_wq_worker ret_from_fork"),
            "TCP transmit", "io_uring's threads", id="a thread that the kernel runs for the server",
        ),
        pytest.param(stack(CALL, PYTHON), "kernel entry and exit", "kernel entry and exit", id="no system call yet"),
        pytest.param(
            stack("clear_page_erms do_anonymous_page __handle_mm_fault exc_page_fault asm_exc_page_fault", PYTHON),
            "memory", "page faults", id="a page fault",
        ),
        pytest.param(
            stack("filp_flush __arm64_sys_close invoke_syscall el0_svc_common do_el0_svc el0_svc"),
            "sockets, files, other calls", "close", id="another architecture",
        ),
        pytest.param(stack("frobnicate_widget", PYTHON), "other kernel code", "unknown", id="in no rule"),
        pytest.param([Frame("[unknown]", KERNEL), PYTHON], "unknown", "unknown", id="the kernel without names"),
        pytest.param([PYTHON], "Python interpreter", rules.USER, id="Python"),
        pytest.param([LOOP, PYTHON], "the library's own code", rules.USER, id="a library"),
        pytest.param(
            code("/usr/lib/python3.11/lib-dynload/_socket.so"), "Python interpreter", rules.USER, id="its modules"
        ),
        pytest.param(code("/usr/lib/x86_64-linux-gnu/libc.so.6"), "libc and vdso", rules.USER, id="libc"),
        pytest.param(
            code("/usr/lib/x86_64-linux-gnu/libffi.so.8.1.2"), "Python interpreter", rules.USER, id="ctypes"
        ),
        pytest.param(code("[vdso]"), "libc and vdso", rules.USER, id="the vdso"),
        pytest.param(code("/usr/sbin/nginx"), "other code of the server", rules.USER, id="a peer"),
        pytest.param(code("/usr/sbin/nginx", "[unknown]"), "other code of the server", rules.USER, id="stripped"),
        pytest.param(code("[unknown]", "[unknown]"), "unknown", rules.USER, id="no file"),
        pytest.param([], "unknown", "unknown", id="no stack"),
    ],
)  # fmt: skip
def test_a_sample_is_sorted_by_its_stack(sampled: Stack, category: str, context: str) -> None:
    assert rules.category(sampled, is_own=True) == category
    assert rules.context(sampled, is_own=True) == context
    assert category in CATEGORIES


@pytest.mark.parametrize(
    ("sampled", "category", "context"),
    [
        pytest.param([PYTHON], "other programs", "other programs", id="its code"),
        pytest.param(stack(f"vfs_read ksys_read {CALL}", PYTHON), "other programs", "other programs", id="its call"),
        pytest.param([], "other programs", "other programs", id="no stack"),
        pytest.param(
            stack(f"{RECEIVE} handle_softirqs {INTERRUPT}", PYTHON), "TCP receive", "softirq", id="packets interrupt it"
        ),
        pytest.param(stack(f"handle_softirqs {INTERRUPT}", PYTHON), "interrupts", "softirq", id="an interrupt"),
        pytest.param(
            stack(f"{RECEIVE} handle_softirqs do_softirq.part.0 __local_bh_enable_ip __dev_queue_xmit tcp_sendmsg "
                  f"__x64_sys_sendto {CALL}", PYTHON),
            "other programs", "other programs", id="packets of its own",
        ),
        pytest.param(
            stack("tcp_sendmsg sock_sendmsg io_send io_issue_sqe io_wq_submit_work io_wq_worker ret_from_fork"),
            "other programs", "other programs", id="the kernel works for it",
        ),
        pytest.param(
            stack("ip_rcv net_rx_action handle_softirqs run_ksoftirqd smpboot_thread_fn kthread ret_from_fork_asm"),
            "TCP receive", "softirq", id="ksoftirqd",
        ),
        pytest.param(
            stack("ip_rcv __napi_poll napi_threaded_poll_loop napi_threaded_poll kthread ret_from_fork_asm"),
            "TCP receive", "softirq", id="a device's own thread",
        ),
        pytest.param(
            stack("kmem_cache_free kdamond_fn kthread ret_from_fork ret_from_fork_asm"),
            "kernel threads", "kernel threads", id="a thread of the kernel's own",
        ),
        pytest.param(
            stack("ip_rcv net_rx_action handle_softirqs do_softirq cleanup_net process_one_work kthread ret_from_fork"),
            "kernel threads", "kernel threads", id="its packets",
        ),
    ],
)  # fmt: skip
def test_another_program_is_not_the_servers_but_packets_are(sampled: Stack, category: str, context: str) -> None:
    assert rules.category(sampled, is_own=False) == category
    assert rules.context(sampled, is_own=False) == context


def test_what_may_be_another_programs_is_what_interrupts_brought_while_it_ran() -> None:
    packets = stack(f"{RECEIVE} handle_softirqs {INTERRUPT}", PYTHON)
    assert rules.is_within_another(packets, is_own=False)
    assert not rules.is_within_another(packets, is_own=True)
    assert not rules.is_within_another(stack(f"vfs_read ksys_read {CALL}", PYTHON), is_own=False)


def test_what_an_interrupt_has_begun_is_told_from_what_it_interrupted() -> None:
    inner = stack(f"net_rx_action handle_softirqs {INTERRUPT}")
    assert rules.interrupting([*inner, PYTHON]) == inner
    assert rules.interrupting(stack(f"tcp_sendmsg __x64_sys_sendto {CALL}", PYTHON)) is None


def test_each_category_of_a_rule_is_shown() -> None:
    assert set(CATEGORIES) == {*rules._FUNCTIONS, *rules._FILES, rules.OWN_CODE, rules.OTHER_KERNEL, *NOT_OF_REQUESTS}
