package syslogd

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// What can be wrong with a message. Errors of ParseLine and of Rejected have one of these in their chain.
var (
	// ErrMalformed means that the text is in none of the forms of syslog, or breaks the one it began with.
	ErrMalformed = errors.New("this is not syslog")
	// ErrNoTime means that the message has no time and the moment of receipt is unknown.
	ErrNoTime = errors.New("the message has no time")
	// ErrNoYear means that the time of the message has no year and none was given.
	ErrNoYear = errors.New("the time has no year: say which one")
	// ErrNoHost means that the message names no host and no host was given for such messages.
	ErrNoHost = errors.New("the message names no host")
)

// What can be wrong with a connection or a file rather than with a message.
var (
	// ErrTooLong means that a frame or a line is longer than 64 KiB; its beginning was rejected and its rest is skipped.
	ErrTooLong = errors.New("longer than 64 KiB")
	// ErrCutOff means that a connection or a file ended within a message.
	ErrCutOff = errors.New("ended within a message")
	// ErrTooManyConnections means that a connection was closed unread because too many are open.
	ErrTooManyConnections = errors.New("too many open connections: connection closed unread")
	// ErrConfig means that the configuration cannot work.
	ErrConfig = errors.New("syslogd: wrong configuration")
)

// ListenError tells why an address could not be listened on. Its chain holds the error of the system.
type ListenError struct {
	// Network is "udp" or "tcp".
	Network string
	// Address is the address as configured.
	Address string
	// Err is the error of the system.
	Err error
}

// Error returns one line that says what to do.
func (e *ListenError) Error() string {
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		return fmt.Sprintf("syslogd: %s address %s is taken by another program: "+
			"stop it, or choose another port (port 0 picks a free one)", e.Network, e.Address)
	case errors.Is(e.Err, fs.ErrPermission):
		return fmt.Sprintf("syslogd: no permission to listen on %s address %s: "+
			"choose a port above 1023, or run with more rights", e.Network, e.Address)
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("syslogd: %s address %s is not one of this machine: "+
			"use 127.0.0.1 or an address of its own", e.Network, e.Address)
	}
	return fmt.Sprintf("syslogd: cannot listen on %s address %q: %v: "+
		"give an address such as 127.0.0.1:5514", e.Network, e.Address, e.Err)
}

// Unwrap returns the error of the system.
func (e *ListenError) Unwrap() error { return e.Err }
