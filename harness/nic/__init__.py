"""Network devices as the kernel tells of them: queues, interrupts, and who is to work on what."""
