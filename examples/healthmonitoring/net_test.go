package main

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// listenAnywhere takes a TCP port for the time of the test and returns its address.
func listenAnywhere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}
