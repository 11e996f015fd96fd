package embedded

import (
	"errors"
	"fmt"
)

var (
	// ErrDirInUse says that another server, in this process or another one,
	// holds the directory.
	ErrDirInUse = errors.New("embedded: directory is in use by another process")

	// ErrStopped says that the server or cluster has been stopped.
	ErrStopped = errors.New("embedded: server is stopped")
)

// PortError says that the server could not listen on a port.
type PortError struct {
	// Host and Port are what the server tried to bind.
	Host string
	Port int
	// Err is the reason, mostly syscall.EADDRINUSE or syscall.EACCES.
	Err error
}

// Error names the port, the reason and the way out.
func (e *PortError) Error() string {
	return fmt.Sprintf("embedded: cannot listen on %s port %d: %v (choose another port, or embedded.RandomPort for a free one)",
		e.Host, e.Port, e.Err)
}

// Unwrap gives the reason.
func (e *PortError) Unwrap() error { return e.Err }

// DirError says that the directory cannot be used.
type DirError struct {
	// Dir is the directory as the caller named it.
	Dir string
	// Err is the reason; ErrDirInUse when another server holds it.
	Err error
}

// Error names the directory and the reason.
func (e *DirError) Error() string {
	return fmt.Sprintf("embedded: cannot keep data in directory %q: %v (name a directory of its own that this user can write)", e.Dir, e.Err)
}

// Unwrap gives the reason.
func (e *DirError) Unwrap() error { return e.Err }
