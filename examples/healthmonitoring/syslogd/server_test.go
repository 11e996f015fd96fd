package syslogd

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
)

const patience = 30 * time.Second

// catcher keeps what a server or a follower hands out.
type catcher struct {
	mu struct {
		sync.Mutex
		messages []health.Syslog
		rejected []Rejected
	}
}

func (c *catcher) deliver(m health.Syslog) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.messages = append(c.mu.messages, m)
}

func (c *catcher) reject(r Rejected) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.rejected = append(c.mu.rejected, r)
}

func (c *catcher) texts() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []string{}
	for _, m := range c.mu.messages {
		out = append(out, m.Message)
	}
	return out
}

func (c *catcher) rejections() []Rejected {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Rejected(nil), c.mu.rejected...)
}

func (c *catcher) waitTexts(t *testing.T, want ...string) {
	t.Helper()
	require.EventuallyWithT(t, func(t *assertT) { require.Equal(t, want, c.texts()) }, patience, 5*time.Millisecond)
}

func (c *catcher) waitRejected(t *testing.T, n int) []Rejected {
	t.Helper()
	require.EventuallyWithT(t, func(t *assertT) { require.Len(t, c.rejections(), n) }, patience, 5*time.Millisecond)
	return c.rejections()
}

func start(t *testing.T, change func(*Config)) (*Server, *catcher) {
	t.Helper()
	caught := &catcher{}
	cfg := Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Host: "receiver", Location: time.UTC, Deliver: caught.deliver, Reject: caught.reject}
	if change != nil {
		change(&cfg)
	}
	s, err := Listen(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, caught
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial(addr.Network(), addr.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
}

func TestUDP(t *testing.T) {
	s, caught := start(t, nil)
	conn := dial(t, s.UDPAddr())
	send(t, conn, "<26>1 2026-11-03T05:00:01Z web1 app - - - one")
	caught.waitTexts(t, "one")
	send(t, conn, "")
	send(t, conn, "\n")
	send(t, conn, "no syslog at all")
	r := caught.waitRejected(t, 1)[0]
	require.Equal(t, "udp", r.Source)
	require.Equal(t, conn.LocalAddr().String(), r.Remote)
	require.Equal(t, "no syslog at all", string(r.Raw))
	require.ErrorIs(t, r.Err, ErrMalformed)

	big := "<13>" + strings.Repeat("x", 65507-4) // the largest datagram there is
	send(t, conn, big)
	caught.waitTexts(t, "one", big[4:])
	send(t, conn, "<26>Nov  3 05:00:01 app: three\n")
	caught.waitTexts(t, "one", big[4:], "three")
	require.Equal(t, "receiver", caught.mu.messages[2].Host)
	require.Equal(t, "crit", caught.mu.messages[0].Severity)
}

func TestTCPFramesOfAllKindsOnOneConnection(t *testing.T) {
	s, caught := start(t, nil)
	conn := dial(t, s.TCPAddr())
	send(t, conn, "<13>one\n7 <13>two<13>three\x00garbage\n\n")
	send(t, conn, "65540 <"+strings.Repeat("x", 65539)+"<13>fo")
	send(t, conn, "ur\n")
	caught.waitTexts(t, "one", "two", "three", "four")
	send(t, conn, "<13>five") // no newline, but the end
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	caught.waitTexts(t, "one", "two", "three", "four", "five")
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "the server ends the connection, too")

	rejected := caught.waitRejected(t, 2)
	require.Equal(t, "garbage", string(rejected[0].Raw))
	require.Equal(t, conn.LocalAddr().String(), rejected[0].Remote)
	require.ErrorIs(t, rejected[1].Err, ErrTooLong)
	require.Len(t, rejected[1].Raw, maxFrame)
}

func TestTCPHalfAMessageIsRejected(t *testing.T) {
	s, caught := start(t, nil)
	conn := dial(t, s.TCPAddr())
	send(t, conn, "99 <13>half")
	require.NoError(t, conn.Close())
	r := caught.waitRejected(t, 1)[0]
	require.ErrorIs(t, r.Err, ErrCutOff)
	require.Equal(t, "<13>half", string(r.Raw))

	// The same when the server closes: nothing is lost silently.
	conn = dial(t, s.TCPAddr())
	send(t, conn, "<13>whole\n<13>half")
	caught.waitTexts(t, "whole")
	require.NoError(t, s.Close())
	r = caught.waitRejected(t, 2)[1]
	require.ErrorIs(t, r.Err, ErrCutOff)
	require.ErrorIs(t, r.Err, net.ErrClosed)
}

// TestABlockedHandlerHoldsUpItsSenderOnly blocks the delivery of one connection and sends on others.
func TestABlockedHandlerHoldsUpItsSenderOnly(t *testing.T) {
	caught := &catcher{}
	entered, release := make(chan struct{}), make(chan struct{})
	s, _ := start(t, func(cfg *Config) {
		cfg.Reject = caught.reject
		cfg.Deliver = func(m health.Syslog) {
			if m.Message == "block" {
				close(entered)
				<-release
			}
			caught.deliver(m)
		}
	})
	slow := dial(t, s.TCPAddr())
	send(t, slow, "<13>block\n<13>after\n")
	<-entered
	dial(t, s.TCPAddr()) // says nothing for ever
	hostile := dial(t, s.TCPAddr())
	send(t, hostile, "60000 <13>never ends")
	send(t, dial(t, s.TCPAddr()), "<13>tcp\n")
	caught.waitTexts(t, "tcp")
	send(t, dial(t, s.UDPAddr()), "<13>udp")
	caught.waitTexts(t, "tcp", "udp")
	close(release)
	caught.waitTexts(t, "tcp", "udp", "block", "after")
}

func TestTooManyConnections(t *testing.T) {
	s, caught := start(t, func(cfg *Config) { cfg.MaxConnections = 2 })
	first, second := dial(t, s.TCPAddr()), dial(t, s.TCPAddr())
	send(t, first, "<13>first\n")
	caught.waitTexts(t, "first")
	send(t, second, "<13>second\n")
	caught.waitTexts(t, "first", "second")

	third := dial(t, s.TCPAddr())
	_, err := third.Read(make([]byte, 1))
	require.Error(t, err, "a connection too many stays open")
	r := caught.waitRejected(t, 1)[0]
	require.ErrorIs(t, r.Err, ErrTooManyConnections)
	require.Equal(t, third.LocalAddr().String(), r.Remote)

	// A place that becomes free is given away again.
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.mu.conns) == 1
	}, patience, 5*time.Millisecond)
	send(t, dial(t, s.TCPAddr()), "<13>fourth\n")
	caught.waitTexts(t, "first", "second", "fourth")
}

// TestNothingIsLost sends from many connections at once and counts.
func TestNothingIsLost(t *testing.T) {
	s, caught := start(t, nil)
	const senders, each = 20, 300
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			conn, err := net.Dial("tcp", s.TCPAddr().String())
			if err != nil {
				t.Error(err)
				return
			}
			for j := range each {
				text := fmt.Sprintf("<13>%d-%d", i, j)
				switch j % 4 {
				case 0:
					text = fmt.Sprintf("%d %s", len(text), text)
				case 1:
					text += "\x00"
				case 2:
					text += "\r\n"
				case 3:
					text = "garbage " + text + "\n"
				}
				if _, err := io.WriteString(conn, text); err != nil {
					t.Error(err)
				}
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	rejected := caught.waitRejected(t, senders*each/4)
	require.EventuallyWithT(t, func(t *assertT) { require.Len(t, caught.texts(), senders*each*3/4) }, patience, 10*time.Millisecond)
	seen := map[string]bool{}
	for _, text := range caught.texts() {
		require.False(t, seen[text], text)
		seen[text] = true
	}
	for _, r := range rejected {
		require.True(t, strings.HasPrefix(string(r.Raw), "garbage <13>"), "the raw bytes are the receiver's: %q", r.Raw)
	}
}

func TestListenErrorsSayWhatToDo(t *testing.T) {
	s, caught := start(t, nil)
	cfg := Config{Deliver: caught.deliver, Reject: caught.reject}

	_, err := Listen(t.Context(), cfg)
	require.ErrorIs(t, err, ErrConfig)
	_, err = Listen(t.Context(), Config{UDP: "127.0.0.1:0", Deliver: caught.deliver})
	require.ErrorIs(t, err, ErrConfig)

	var detail *ListenError
	cfg.UDP = s.UDPAddr().String()
	_, err = Listen(t.Context(), cfg)
	require.ErrorAs(t, err, &detail)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.EqualError(t, err, "syslogd: udp address "+cfg.UDP+" is taken by another program: stop it, or choose another port (port 0 picks a free one)")

	// The TCP address is taken: the UDP socket opened before it must not stay open.
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, free.Close())
	cfg.UDP, cfg.TCP = free.LocalAddr().String(), s.TCPAddr().String()
	_, err = Listen(t.Context(), cfg)
	require.ErrorAs(t, err, &detail)
	require.Equal(t, "tcp", detail.Network)
	again, err := net.ListenPacket("udp", cfg.UDP)
	require.NoError(t, err)
	require.NoError(t, again.Close())

	for _, address := range []string{"127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x"} {
		_, err = Listen(t.Context(), Config{TCP: address, Deliver: caught.deliver, Reject: caught.reject})
		require.ErrorAs(t, err, &detail, address)
		require.ErrorContains(t, err, "give an address such as 127.0.0.1:5514")
	}
	require.ErrorContains(t, &ListenError{Network: "udp", Address: ":514", Err: syscall.EACCES}, "choose a port above 1023")
}

func TestOneTransportOnly(t *testing.T) {
	s, _ := start(t, func(cfg *Config) { cfg.TCP = "" })
	require.Nil(t, s.TCPAddr())
	require.NotNil(t, s.UDPAddr())
	s, _ = start(t, func(cfg *Config) { cfg.UDP = "" })
	require.Nil(t, s.UDPAddr())
	require.NotNil(t, s.TCPAddr())
}

// TestStartAndStop ends servers in every way at once, with traffic; goleak watches what stays behind.
func TestStartAndStop(t *testing.T) {
	for range 20 {
		caught := &catcher{}
		ctx, cancel := context.WithCancel(t.Context())
		s, err := Listen(ctx, Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Host: "h", Deliver: caught.deliver, Reject: caught.reject})
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				conn, err := net.Dial("tcp", s.TCPAddr().String())
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				for {
					if _, err := io.WriteString(conn, "<13>x\n"); err != nil {
						return
					}
				}
			})
		}
		for range 3 {
			wg.Go(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(cancel)
		wg.Wait()
		require.NoError(t, s.Close())
		_, err = net.Dial("tcp", s.TCPAddr().String())
		require.Error(t, err, "it still listens")
	}
}
