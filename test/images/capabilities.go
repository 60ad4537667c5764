package images

// NetAdminPermitted is what `setcap cap_net_admin=p` gives a file: a process that is not root may put NET_ADMIN into
// effect, if its container has it. With the bit "effective" the kernel would not start the program in other
// containers.
//
// These are the bytes of the kernel's struct vfs_cap_data: the version with the bit "effective", then twice 32
// permitted and 32 inheritable capabilities.
const NetAdminPermitted = "" +
	"\x00\x00\x00\x02" + // version 2, not effective
	"\x00\x10\x00\x00" + "\x00\x00\x00\x00" + // number 12 is permitted
	"\x00\x00\x00\x00" + "\x00\x00\x00\x00"
