//go:build unix && !linux

package stream_test

import "errors"

// mountSmall: there are no small disks.
func mountSmall(string) (unmount func() error, err error) {
	return nil, errors.New("only on Linux")
}
