package capture

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// withNetAdmin calls f on a thread for which NET_ADMIN is in effect, and gives it up again.
//
// In images the program's file has the capability cap_net_admin=p: NET_ADMIN is permitted to a process that is not
// root, if its container has it. It is not in effect by itself, because the kernel would not start the program at all
// in containers without NET_ADMIN.
func withNetAdmin(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Version 3 has 64 capabilities in two words. NET_ADMIN is in the first.
	const bit = 1 << unix.CAP_NET_ADMIN
	var before [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3} // of the calling thread
	if err := unix.Capget(&header, &before[0]); err != nil {
		return fmt.Errorf("read the capabilities of this process: %w", err)
	}
	if before[0].Permitted&bit == 0 {
		return whyNot()
	}
	raised := before
	raised[0].Effective |= bit
	if err := unix.Capset(&header, &raised[0]); err != nil {
		return fmt.Errorf("put NET_ADMIN into effect, which is permitted to this process: %w", err)
	}
	failed := f()
	if err := unix.Capset(&header, &before[0]); err != nil {
		return errors.Join(failed, fmt.Errorf("give up NET_ADMIN: %w", err))
	}
	return failed
}

// fileCapabilities is the extended attribute with a file's capabilities.
const fileCapabilities = "security.capability"

// whyNot says why this process may not have NET_ADMIN, and what to do.
func whyNot() error {
	inContainer, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_NET_ADMIN, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("read the capabilities of this container: %w", err)
	}
	if inContainer == 0 {
		return errors.New("the container has no capability NET_ADMIN, without which nobody changes the pod's network: " +
			"add it to securityContext.capabilities.add; where Pod Security forbids it, as baseline and restricted do, " +
			"the pod cannot be captured")
	}
	const has = "the container has the capability NET_ADMIN, but not this process"
	switch size, err := unix.Getxattr("/proc/self/exe", fileCapabilities, nil); {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%s of user %d, because its file has lost the capability cap_net_admin=p: build and copy the "+
			"image with extended attributes, or run the container as user 0", has, unix.Getuid())
	case err != nil:
		return fmt.Errorf("%s; find out whether its file has cap_net_admin=p: %w", has, err)
	default:
		return fmt.Errorf("%s of user %d, although its file has capabilities (%d bytes): the container runtime lets "+
			"those of files count for nothing; set allowPrivilegeEscalation: true, or run the container as user 0",
			has, unix.Getuid(), size)
	}
}
