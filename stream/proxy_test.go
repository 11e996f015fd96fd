package stream_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

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
	ways    []*requests
	swallow bool          // what the server says is lost
	held    chan struct{} // what clients say arrives when it is closed; nil: at once
	blocked bool          // nobody is let through
	edited  func([]byte) []byte
	slow    time.Duration // what one KiB of what clients say takes
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
		p.hold(false)
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
		way := &requests{p: p, to: server}
		p.ways = append(p.ways, way)
		p.mu.Unlock()
		p.wg.Go(func() {
			_, _ = io.Copy(way, client)
			way.arriving.Wait()
			_ = server.(*net.TCPConn).CloseWrite()
		})
		p.wg.Go(func() {
			_, _ = io.Copy(answers{p, client}, server)
			_ = client.Close()
			// A server that cannot answer closes the connection, and does not read what has been said.
			_, _ = io.Copy(io.Discard, server)
			_ = server.Close()
		})
	}
}

// requests is the way from a client to the server.
type requests struct {
	p  *proxy
	to net.Conn

	arriving sync.WaitGroup
	mu       sync.Mutex
	kept     []byte // what has been said and has not arrived yet
}

func (r *requests) Write(b []byte) (int, error) {
	r.p.mu.Lock()
	held, slow := r.p.held, r.p.slow
	r.p.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.kept != nil:
		r.kept = append(r.kept, b...)
	case held != nil:
		r.kept = bytes.Clone(b)
		r.arriving.Go(func() { <-held; r.arrive() })
	default:
		<-time.After(time.Duration(len(b)>>10) * slow)
		return r.to.Write(b)
	}
	return len(b), nil
}

func (r *requests) arrive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.to.Write(r.kept)
	r.kept = nil
}

// holds says whether a client has said this and it has not arrived yet.
func (p *proxy) holds(word string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.ways, func(r *requests) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return bytes.Contains(r.kept, []byte(word))
	})
}

// hold keeps what clients say until it is undone: then it arrives, however late.
func (p *proxy) hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on == (p.held != nil) {
		return
	}
	if on {
		p.held = make(chan struct{})
	} else {
		close(p.held)
		p.held = nil
	}
}

// crawl makes the line slow on which clients speak.
func (p *proxy) crawl(perKiB time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = perKiB
}

// delay keeps what clients say from now on until arrive is called. What they say through connections that are made after passing is called
// arrives at once.
func (p *proxy) delay() (passing, arrive func()) {
	p.hold(true)
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	passing = func() {
		p.mu.Lock()
		p.held = nil
		p.mu.Unlock()
	}
	return passing, func() { close(held) }
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

// leave ends the connections of the clients. What they have said still arrives.
func (p *proxy) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 0; i < len(p.conns); i += 2 {
		_ = p.conns[i].Close()
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
