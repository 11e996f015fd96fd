package stream_test

import (
	"fmt"
	"syscall"
)

// mountSmall mounts a small disk on dir, where that is allowed.
func mountSmall(dir string) (unmount func() error, err error) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk)); err != nil {
		return nil, err
	}
	return func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) }, nil
}
