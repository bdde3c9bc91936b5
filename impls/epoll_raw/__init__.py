"""The reference: epoll on raw file descriptors, standard library only."""
