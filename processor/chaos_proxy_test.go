package processor_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// gate is the network of one instance: a proxy before each server. It can be shut.
type gate struct {
	wg   sync.WaitGroup
	urls []string

	mu        sync.Mutex
	listeners []net.Listener
	conns     map[net.Conn]bool
	shut      bool          // connections are refused
	flows     chan struct{} // closed: bytes flow
	closed    bool
}

func newGate(t *testing.T, targets []string) *gate {
	t.Helper()
	g := &gate{conns: make(map[net.Conn]bool), flows: make(chan struct{})}
	close(g.flows)
	for _, target := range targets {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		g.listeners = append(g.listeners, l)
		g.urls = append(g.urls, "nats://"+l.Addr().String())
		g.wg.Go(func() { g.accept(l, strings.TrimPrefix(target, "nats://")) })
	}
	return g
}

func (g *gate) close() {
	g.open()
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	for _, l := range g.listeners {
		_ = l.Close()
	}
	g.hangUp()
	g.wg.Wait()
}

func (g *gate) accept(l net.Listener, target string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", target)
		if err != nil {
			_ = client.Close()
			continue
		}
		g.mu.Lock()
		refused := g.shut || g.closed
		if !refused {
			g.conns[client], g.conns[server] = true, true
		}
		g.mu.Unlock()
		if refused {
			_ = errors.Join(client.Close(), server.Close())
			continue
		}
		g.wg.Go(func() { g.pass(server, client) })
		g.wg.Go(func() { g.pass(client, server) })
	}
}

func (g *gate) pass(to, from net.Conn) {
	_, _ = io.Copy(slow{g, to}, from)
	_ = errors.Join(to.Close(), from.Close())
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, to)
	delete(g.conns, from)
}

// slow waits while nothing flows.
type slow struct {
	g  *gate
	to net.Conn
}

func (s slow) Write(b []byte) (int, error) {
	s.g.mu.Lock()
	flows := s.g.flows
	s.g.mu.Unlock()
	<-flows
	return s.to.Write(b)
}

// refuse ends all connections and refuses new ones.
func (g *gate) refuse() {
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
	g.hangUp()
}

// stall keeps connections, and what is sent on them, until open.
func (g *gate) stall() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flows = make(chan struct{})
}

// open heals everything.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
	select {
	case <-g.flows:
	default:
		close(g.flows)
	}
}

func (g *gate) hangUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		_ = c.Close()
	}
}
