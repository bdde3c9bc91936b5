"""What a sample of a profile was about: rules over its stack, as data.

A sample is sorted twice, and each time into exactly one place. Its *category* says what was done: the innermost
function that a rule names decides, so a helper that none names (memcpy, an uncontended spin lock) belongs to who called
it. Its *context* says on whose behalf: the innermost border that the CPU crossed, which is a system call, a softirq, an
interrupt, or none where the program's own code ran. A softirq that ran on the way out of a system call is a softirq: it
was there by chance.

Names are those of Linux 5 to 6.18, without what compilers put behind them (``.isra.0``). Of a program's own frames only
the innermost counts, by the file that it is from: without frame pointers those above it are often wrong.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate
from functools import cache
from typing import Final

KERNEL: Final = "[kernel.kallsyms]"
UNKNOWN: Final = "unknown"
"""A function without a name: nobody knows what was done."""
OTHER_KERNEL: Final = "other kernel code"
"""A kernel function that has a name, but neither it nor any that called it is in a rule."""
IDLE: Final = "idle"
WAKING: Final = "leaving idle"
"""An interrupt has come to an idle CPU: what passed until it was handled is neither work nor rest."""
OTHER_PROGRAMS: Final = "other programs"
KERNEL_THREADS: Final = "kernel threads"
"""The kernel's own work, such as for its memory; what ksoftirqd does for packets is not of it."""
INTERPRETER: Final = "Python interpreter"
LIBRARY: Final = "the library's own code"
OWN_CODE: Final = "other code of the server"
LIBC: Final = "libc and vdso"
SOFTIRQ: Final = "softirq"
INTERRUPTS: Final = "interrupts"
SENDING: Final = "interrupting other CPUs"
SCHEDULER: Final = "scheduler"
ENTRY: Final = "kernel entry and exit"
TCP_RECEIVE: Final = "TCP receive"
TCP_TRANSMIT: Final = "TCP transmit"
USER: Final = "the program's own code"

_FUNCTIONS: Final[Mapping[str, str]] = {
    IDLE: """
        pv_native_safe_halt native_safe_halt default_idle default_idle_call default_enter_idle cpuidle_enter*
        acpi_idle_* acpi_safe_halt intel_idle* mwait_idle* cpuidle_idle_call do_idle poll_idle haltpoll_* cpu_do_idle
        arch_cpu_idle psci_enter_idle* cpu_startup_entry
    """,
    SENDING: """
        x2apic_send_* default_send_IPI* native_send_call_func_* native_smp_send_reschedule net_rps_send_ipi
        smp_cross_call generic_exec_single smp_call_function_* __smp_call_single_queue
    """,
    "locks": """
        *queued_spin_lock_slowpath queued_read_lock_slowpath queued_write_lock_slowpath mutex_spin_on_owner
        mutex_optimistic_spin __mutex_* rwsem_* osq_* futex_* do_futex __futex_* __lock_sock*
    """,
    "memory": """
        kmem_cache_* kmalloc* __kmalloc* kfree* kvfree* __slab_* ___slab_* slab_* *alloc_pages* alloc_pages*
        __alloc_skb alloc_skb* skb_release_* skb_free_head __kfree_skb consume_skb __consume_skb* kfree_skb*
        skb_attempt_defer_free skb_defer_free_flush napi_skb_cache_* __napi_kfree_skb napi_consume_skb page_frag_*
        sk_page_frag_refill skb_page_frag_refill free_unref_* __free_pages* free_frozen_* get_page_from_freelist
        *memcg* mod_objcg* refill_obj_* drain_obj_* obj_cgroup_* folio_* handle_mm_fault __handle_mm_fault
        do_user_addr_fault do_anonymous_page exc_page_fault asm_exc_page_fault clear_page* copy_page* *_copy_to_iter
        *_copy_from_iter _copy_to_user _copy_from_user copy_user_* rep_movs_* __check_object_size __virt_addr_valid
        check_heap_object simple_copy_to_iter skb_copy_datagram_iter __skb_datagram_iter __put_user_* __get_user_*
        kmem_* __sk_mem_* sk_forced_mem_schedule __vm_* do_brk* do_mmap* __x64_sys_brk __x64_sys_mmap __x64_sys_munmap
        __x64_sys_madvise vm_mmap_pgoff
    """,
    "timers": """
        run_timer_softirq __run_timers call_timer_fn expire_timers mod_timer* __mod_timer add_timer* *timer_delete*
        del_timer* hrtimer_* __hrtimer_* tick_* __tick_* clockevents_* lapic_next_* update_process_times timerqueue_*
        enqueue_timer* internal_add_timer tmigr_* timekeeping_* get_next_timer_interrupt __get_next_timer_interrupt
    """,
    SCHEDULER: """
        schedule __schedule schedule_idle schedule_timeout schedule_hrtimeout* finish_task_switch try_to_wake_up
        ttwu_* wake_up_* __wake_up* default_wake_function autoremove_wake_function sched_* select_task_rq* pick_next_*
        pick_task_* set_next_* put_prev_* enqueue_task* dequeue_task* enqueue_entity dequeue_entit* update_curr*
        update_load_avg update_rq_clock* __switch_to* context_switch prepare_task_switch switch_mm* nohz_*
        newidle_balance load_balance sched_balance_* resched_curr* __resched_curr check_preempt_* wakeup_preempt*
        flush_smp_call_function_queue __flush_smp_call_function_queue send_call_function_single_ipi psi_* cpuacct_*
        __x64_sys_sched_* do_sched_yield reweight_* place_entity yield_task_* rcu_note_context_switch
    """,
    "waiting for events (epoll)": """
        ep_* __ep_* epoll_* do_epoll_* eventpoll_* __x64_sys_epoll_* __arm64_sys_epoll_* do_poll* do_sys_poll
        do_select core_sys_select poll_* __pollwait tcp_poll sock_poll eventfd_* timerfd_*
    """,
    "connections (open, accept, close)": """
        inet_csk_accept inet_accept do_accept __sys_accept4* __x64_sys_accept* __arm64_sys_accept* inet_csk_reqsk_*
        reqsk_* inet_csk_complete_hashdance inet_ehash_* inet_hash* __inet_hash* inet_unhash inet_bind* inet_put_port
        inet_twsk_* tcp_twsk_* tcp_time_wait tcp_close __tcp_close tcp_shutdown inet_release inet_shutdown
        __sock_release sock_close sock_release tcp_v4_connect tcp_connect* inet_stream_connect __inet_stream_connect
        __sys_connect* __inet_check_established __x64_sys_connect tcp_v4_destroy_sock tcp_disconnect
        inet_csk_destroy_sock tcp_done inet_sock_destruct __sk_destruct sk_destruct __sk_free sk_free sk_alloc
        sk_prot_alloc sk_clone* inet_csk_clone_lock tcp_create_openreq_child tcp_v4_syn_recv_sock tcp_check_req
        tcp_conn_request inet_reqsk_alloc tcp_v4_init_* tcp_init_* sock_alloc* alloc_file* sock_init_data*
        __sys_socket* __sock_create sock_create* inet_create tcp_get_metrics __tcp_get_metrics tcp_update_metrics
        tcp_fastopen_* secure_tcp_* secure_ipv4_* __x64_sys_shutdown __x64_sys_socket __tcp_v4_*_cookie*
        sock_alloc_file inet_csk_get_port inet_csk_listen* bpf_sk_reuseport* reuseport_* inet_csk_update_fastreuse
    """,
    TCP_TRANSMIT: """
        tcp_sendmsg* tcp_write_xmit __tcp_transmit_skb tcp_push __tcp_push_pending_frames tcp_send_* __tcp_send_*
        tcp_v4_send_* tcp_make_synack tcp_xmit_* tcp_rate_skb_sent tcp_stream_alloc_skb tcp_wfree tcp_tso_*
        tcp_schedule_loss_probe tcp_event_new_data_sent tcp_established_options tcp_options_write tcp_*_write_*
        tcp_tsq_* tcp_tasklet_* tcp_pace* __ip_queue_xmit ip_queue_xmit ip_local_out __ip_local_out ip_output
        ip_finish_output* __ip_finish_output ip_mc_output ip_build_and_send_pkt ip_send_* ip_copy_addrs
        ip_route_output* __ip_route_output* ipv4_dst_check neigh_* __neigh_* eth_header ip_make_skb
        inet_sk_rebuild_header tcp_current_mss tcp_update_skb_after_send __tcp_select_window tcp_select_window
        sk_setup_caps ip_skb_dst_mtu ipv4_mtu ip_append* dst_* tcp_cwnd_*
    """,
    TCP_RECEIVE: """
        tcp_* __tcp_* inet_csk_* ip_rcv* ip_local_deliver* ip_protocol_deliver_rcu ip_list_rcv* ip_sublist_rcv*
        inet_gro_* ip_route_input* fib_* __fib_* ip_mkroute* __inet_lookup* inet_lookup* inet_ehashfn
        sock_def_readable sk_filter* bbr_* cubictcp_* bictcp_* __skb_checksum* csum_partial skb_checksum*
        raw_local_deliver raw_v4_* ip_sabotage_in sk_reset_timer sk_stream_* sock_rfree tcp4_gro_* ip_early_demux
        udp_* icmp_*
    """,
    "network device and bridge": """
        veth_* br_* nf_* __nf_* ipt_* iptable_* nft_* __dev_queue_xmit dev_queue_xmit* dev_hard_start_xmit xmit_one
        __dev_xmit* validate_xmit_* netif_* __netif_* eth_type_trans enqueue_to_backlog get_rps_cpu set_rps_cpu rps_*
        process_backlog __napi_poll napi_* gro_* dev_gro_* skb_network_protocol skb_mac_gso* skb_csum_hwoffload*
        passthru_* dev_loopback_xmit loopback_xmit fdb_* __br_* sch_* pfifo_* fq_* qdisc_* __qdisc_* dql_* virtnet_*
        virtqueue_* ip_forward* ip_defrag __skb_flow_dissect __skb_get_hash* skb_get_hash* flow_hash* net_rx_action
        trigger_rx_softirq __sock_wfree sock_wfree netdev_core_pick_tx netdev_pick_tx netdev_* dev_forward_skb*
        is_skb_forwardable tun_* macvlan_* bpf_prog_* xdp_*
    """,
    SOFTIRQ: """
        handle_softirqs __do_softirq do_softirq* __local_bh_enable_ip run_ksoftirqd irq_exit_rcu __irq_exit_rcu
        irq_exit __raise_softirq* raise_softirq* invoke_softirq tasklet_* net_tx_action rcu_core* rcu_do_batch
        rcu_cblist_* rcu_gp_* rcu_nocb_* rcu_accelerate_* rcu_segcblist_* call_rcu* __call_rcu*
    """,
    INTERRUPTS: """
        asm_sysvec_* sysvec_* __sysvec_* asm_common_interrupt common_interrupt __common_interrupt handle_edge_irq
        handle_irq* handle_fasteoi_irq irq_enter* irqentry_* irq_work_* native_apic_* apic_* el1h_64_irq* el0t_64_irq*
        gic_* error_entry error_return generic_handle_* __handle_irq_event* native_irq_return_iret
        restore_regs_and_return*
    """,
    "sockets, files, other calls": """
        sock_* __sock_* __sys_* ____sys_* ___sys_* __x64_sys_* __arm64_sys_* __se_sys_* __do_sys_* ksys_* do_writev
        do_readv vfs_* do_iter_* new_sync_* inet_* security_* apparmor_* selinux_* aa_* fdget* __fdget* __fget* fget*
        fput* __fput* ____fput delayed_fput alloc_fd fd_install close_fd* file_close_fd* filp_* get_unused_fd*
        put_unused_fd __put_unused* lock_sock* release_sock __release_sock import_* rw_verify_area dput __dput iput
        evict d_* dentry_* locks_remove_* fsnotify* __fsnotify* task_work_* io_* eventfd_* pipe_* anon_* do_fcntl
        fcntl_* file_* init_file new_inode* alloc_inode destroy_inode inode_* clear_inode __destroy_inode ioctl_*
        move_addr_to_* sockfd_* sk_* __copy_msghdr simple_* do_tcp_*
    """,
    ENTRY: """
        entry_SYSCALL_64* do_syscall_64 x64_sys_call syscall_* __syscall_* exit_to_user_mode*
        syscall_exit_to_user_mode* entry_SYSRETQ* arch_exit_to_user* el0_svc* do_el0_svc* el0t_64_sync*
        invoke_syscall* ret_to_user* fpregs_* switch_fpu* __audit_* audit_* __seccomp_* seccomp_* ptrace_*
        resume_user_mode* schedule_tail vector_* int_ret_* exit_to_*
    """,
}
"""What the kernel's functions are about: shell patterns; of two that match, the first counts. Of locks only those are
named that were not free: one that is free is no work of its own, whatever kind it is."""

_PAIRS: Final[Sequence[tuple[str, str, str]]] = (("_raw_spin_unlock_irqrestore", "sock_def_*", SCHEDULER),)
"""A function that no rule names, one that has called it, and what is done there.

A socket wakes who waits for it with interrupts off, through epoll down to the scheduler's queue; so all of that is
sampled where they are switched on again.
"""

_BORDERS: Final[Mapping[str, str]] = {
    IDLE: _FUNCTIONS[IDLE],
    SOFTIRQ: "handle_softirqs __do_softirq napi_threaded_poll*",
    INTERRUPTS: "asm_sysvec_* asm_common_interrupt el1h_64_irq* el0t_64_irq*",
    SCHEDULER: "schedule_idle",
    "page faults": "asm_exc_page_fault el0_da el0_ia",
    KERNEL_THREADS: "kthread",
    "io_uring's threads": "io_wq_worker io_sq_thread",
    ENTRY: "entry_SYSCALL_64* do_syscall_64 el0_svc do_el0_svc ret_from_fork*",
}
"""What separates one context from another."""

_FILES: Final[Mapping[str, str]] = {
    INTERPRETER: r"(lib)?python\d[^/]*|.*/lib-dynload/[^/]*|.*/(lib)?python\d[^/]*|.*/libffi[-.][^/]*",
    LIBC: r"\[vdso\]|\[vsyscall\]|.*/(libc|libm|libpthread|librt|libdl|ld-linux[^/]*|ld-musl[^/]*)[-.][^/]*",
    LIBRARY: r".*/(site|dist)-packages/.*",
    UNKNOWN: r"\[unknown\]|//anon|.*/perf-\d+\.map|\[(heap|stack)\]|",
}
"""What a program's code is about: patterns of the file that it is from; of two that match, the first counts. libffi is
what Python's ctypes calls through."""

CATEGORIES: Final = (
    TCP_RECEIVE, TCP_TRANSMIT, "connections (open, accept, close)", "sockets, files, other calls",
    "waiting for events (epoll)", "network device and bridge", SOFTIRQ, INTERRUPTS, SENDING, SCHEDULER, "timers",
    "locks", "memory", ENTRY, INTERPRETER, LIBRARY, LIBC, OWN_CODE, OTHER_KERNEL, UNKNOWN, OTHER_PROGRAMS,
    KERNEL_THREADS, WAKING, IDLE,
)  # fmt: skip
"""All there are, in the order in which they are shown."""
NOT_OF_REQUESTS: Final = frozenset({OTHER_PROGRAMS, KERNEL_THREADS, WAKING, IDLE})
"""What a CPU does beside what requests take of it."""

_SYSTEM_CALL = re.compile(r"(?:__(?:(?:x64|arm64|ia32|se|do)_)?|k)sys_(\w+)")
"""The outermost such function counts, as compilers leave some out."""
_OTHER_NAMES: Final[Mapping[str, str]] = {
    "do_readv": "readv",
    "do_writev": "writev",
    "mmap_pgoff": "mmap",
    "vm_mmap_pgoff": "mmap",
}
"""What is left of some system calls when a compiler has put their first function into its caller."""
_SUFFIX = re.compile(r"\.(isra|part|constprop|cold|llvm|lto_priv)\b.*")


@dataclass(frozen=True, slots=True)
class Frame:
    """A function, and the file that it is from, such as KERNEL or a library's path."""

    symbol: str
    file: str

    @property
    def is_kernel(self) -> bool:
        """Whether it is the kernel's, or a module's."""
        return _KERNEL_FILE.fullmatch(self.file) is not None


_KERNEL_FILE: Final = re.compile(
    r"\[(?!(?:unknown|vdso|vsyscall|heap|stack)\]).*\]"
    r"|bpf_(?:prog|trampoline|dispatcher)_.*"
    r"|(?:.*/)?vmlinux(?:[-.][^/]*)?"
    r"|.*\.ko(?:\.(?:gz|xz|zst|debug))*"
)
"""The kernel and its modules, what it has compiled of BPF, and files of debug symbols that perf may have found."""
_UNNAMED: Final = "[unknown]"

Stack = Sequence[Frame]
"""The innermost first."""


def interrupting(stack: Stack) -> Stack | None:
    """Return the part of a stack that an interrupt has begun, which has nothing to do with what it interrupted.

    None where there is no interrupt.
    """
    names = [frame.symbol for frame in _kernel_part(stack)]
    return next((stack[: depth + 1] for depth, name in enumerate(names) if _border(name) == INTERRUPTS), None)


def category(stack: Stack, *, is_own: bool) -> str:
    """Tell what was done: one of CATEGORIES. ``is_own``: the process is one of the server's, or the idle task."""
    kernel = _kernel_part(stack)
    names = [frame.symbol for frame in kernel]
    if _is_after_interrupt(names):
        return WAKING if _is_in_idle(names) else INTERRUPTS
    if (stranger := _stranger(names, is_own=is_own)) is not None:
        return stranger
    found = _by_pair(names) or next((found for name in names if (found := _by_function(name))), None)
    if found is not None:
        return found
    if kernel:
        return UNKNOWN if names[0] == _UNNAMED else OTHER_KERNEL
    return _by_file(stack[0].file) if stack else UNKNOWN


def context(stack: Stack, *, is_own: bool) -> str:
    """Tell on whose behalf: the name of a system call, a border, USER, or as ``category`` what is not the server's."""
    kernel = _kernel_part(stack)
    names = [frame.symbol for frame in kernel]
    if _is_after_interrupt(names) and _is_in_idle(names):
        return WAKING
    if (stranger := _stranger(names, is_own=is_own)) is not None:
        return stranger
    call = None
    for name in names:
        border = _border(name)
        if border is not None:
            return call or border if border == ENTRY else border
        call = _system_call(name) or call
    if call is not None:
        return call
    return UNKNOWN if kernel or not stack else USER


def is_within_another(stack: Stack, *, is_own: bool) -> bool:
    """Tell whether an interrupt of another program is what was sampled: the server's packets, or that program's."""
    borders = {_border(frame.symbol) for frame in _kernel_part(stack)}
    return not is_own and INTERRUPTS in borders and KERNEL_THREADS not in borders


def _stranger(names: Sequence[str], *, is_own: bool) -> str | None:
    """Tell whose it is if not the server's; None for what is, or may be: what interrupts bring, and ksoftirqd.

    A softirq at the end of another program's own system call is taken for that program's packets.
    """
    borders = {_border(name) for name in names}
    if is_own or INTERRUPTS in borders:
        return None
    if KERNEL_THREADS in borders:
        return None if any(_SERVES_ALL.fullmatch(_plain(name)) for name in names) else KERNEL_THREADS
    return OTHER_PROGRAMS


_SERVES_ALL: Final = re.compile(r"run_ksoftirqd|napi_threaded_poll.*")
"""The threads that handle packets, whosever they are."""


def _kernel_part(stack: Stack) -> Stack:
    """Return the kernel's frames, which are the innermost."""
    end = next((depth for depth, frame in enumerate(stack) if not frame.is_kernel), len(stack))
    return stack[:end]


def _by_pair(names: Sequence[str]) -> str | None:
    """Tell what was done by the innermost function and its caller; None where no rule has the two."""
    inner, outer = [*map(_plain, names[:2]), "", ""][:2]
    return next((found for first, second, found in _PAIRS if inner == first and fnmatchcase(outer, second)), None)


def _is_after_interrupt(names: Sequence[str]) -> bool:
    """Tell whether an interrupt was about to be followed by the softirqs that it has raised.

    It lets the timer of the sampling come where it switches interrupts on again, to handle softirqs. So whatever passed
    while they were off is seen there; where the CPU was idle, in a virtual machine, the time until it runs again, too.
    """
    return bool(names) and _plain(names[0]) in _ENDS_INTERRUPT and any(_border(name) == INTERRUPTS for name in names)


def _is_in_idle(names: Sequence[str]) -> bool:
    """Tell whether what was interrupted was an idle CPU."""
    borders = (_border(name) for name in names)
    return next((border for border in borders if border not in {None, SOFTIRQ, INTERRUPTS}), None) == IDLE


_ENDS_INTERRUPT: Final = frozenset({"handle_softirqs", "__do_softirq"})


def _plain(name: str) -> str:
    return _SUFFIX.sub("", name)


def _compiled(patterns: Mapping[str, str]) -> Mapping[str, re.Pattern[str]]:
    return {name: re.compile("|".join(map(translate, several.split()))) for name, several in patterns.items()}


_FUNCTION_PATTERNS: Final = _compiled(_FUNCTIONS)
_BORDER_PATTERNS: Final = _compiled(_BORDERS)
_FILE_PATTERNS: Final = {name: re.compile(pattern) for name, pattern in _FILES.items()}


@cache
def _by_function(name: str) -> str | None:
    return _first(_FUNCTION_PATTERNS, _plain(name))


@cache
def _border(name: str) -> str | None:
    return _first(_BORDER_PATTERNS, _plain(name))


@cache
def _system_call(name: str) -> str | None:
    plain = _plain(name)
    found = _SYSTEM_CALL.fullmatch(plain)
    call = found[1] if found else plain
    return _OTHER_NAMES.get(call, call if found else None)


@cache
def _by_file(file: str) -> str:
    return _first(_FILE_PATTERNS, file) or OWN_CODE


def _first(patterns: Mapping[str, re.Pattern[str]], text: str) -> str | None:
    return next((name for name, pattern in patterns.items() if pattern.fullmatch(text)), None)


def is_system_call(name: str) -> bool:
    """Tell whether a context is a system call, and ``name`` which."""
    return name not in _NO_CALLS


_NO_CALLS: Final = frozenset({*_BORDERS, USER, WAKING, OTHER_PROGRAMS, UNKNOWN})
