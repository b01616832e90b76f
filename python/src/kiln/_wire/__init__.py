"""What goes over the wire, and the rules of talking to a daemon, without input or output: shared by both clients."""
