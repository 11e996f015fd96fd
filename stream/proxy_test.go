package stream_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// proxy stands between clients and a server and loses what it is told to.
type proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu      sync.Mutex
	conns   []net.Conn
	swallow bool // what the server says is lost
	blocked bool // nobody is let through
	edited  func([]byte) []byte
	closed  bool
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, target: target}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		if p.closed || p.blocked {
			closed := p.closed
			p.mu.Unlock()
			_ = errors.Join(client.Close(), server.Close())
			if closed {
				return
			}
			continue
		}
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.wg.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
		p.wg.Go(func() { _, _ = io.Copy(answers{p, client}, server); _ = client.Close() })
	}
}

// answers is the way from the server to a client.
type answers struct {
	p  *proxy
	to net.Conn
}

func (a answers) Write(b []byte) (int, error) {
	a.p.mu.Lock()
	lost, edited := a.p.swallow, a.p.edited
	a.p.mu.Unlock()
	if lost {
		return len(b), nil
	}
	if edited == nil {
		return a.to.Write(b)
	}
	_, err := a.to.Write(edited(b))
	return len(b), err
}

// edit lets fn change what the server says.
func (p *proxy) edit(fn func([]byte) []byte) {
	p.mu.Lock()
	p.edited = fn
	p.mu.Unlock()
}

// loseAnswers makes everything that the server says from now on disappear.
func (p *proxy) loseAnswers() {
	p.mu.Lock()
	p.swallow = true
	p.mu.Unlock()
}

// block ends all connections, and allows no new ones until it is undone.
func (p *proxy) block(on bool) {
	p.mu.Lock()
	p.blocked = on
	p.mu.Unlock()
	if on {
		p.cut()
	}
}

// cut ends all connections; new ones work well.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
	p.swallow = false
}

func (p *proxy) connect(t testing.TB) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://"+p.listener.Addr().String(), reconnecting()...)
	require.NoError(t, err)
	t.Cleanup(func() {
		closed := nc.StatusChanged(nats.CLOSED)
		nc.Close()
		<-closed
	})
	return nc
}
