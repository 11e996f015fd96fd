package syslogd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
)

// defaultMaxConnections bounds memory to some 70 MB when every connection is in a frame of the greatest length.
const defaultMaxConnections = 1024

// udpBuffer is asked of the kernel for bursts that come faster than Deliver takes them: some ten thousand messages.
const udpBuffer = 4 << 20

// retryPause keeps a socket whose reads or accepts fail at once from turning the loop into a busy one.
const retryPause = 50 * time.Millisecond

// Config says where to listen, how to read messages and what to do with them.
type Config struct {
	// UDP and TCP are addresses to listen on, such as "127.0.0.1:5514". "" leaves the transport out; port 0 picks a free
	// port. There is no default: whether to listen beyond this machine is the caller's to decide.
	UDP, TCP string
	// Host stands in for the host of messages that name none; empty: they are rejected with ErrNoHost.
	Host string
	// Year is the year of RFC 3164 times; 0: the latest that puts them at most a week into the future.
	Year int
	// Location is the zone of RFC 3164 times; nil: the zone of this machine.
	Location *time.Location
	// MaxConnections bounds the TCP connections open at a time; further ones are closed and rejected. 0: 1024.
	MaxConnections int
	// Deliver takes each message. Needed. Several goroutines call it at once; it must return once the context given to
	// Listen or Follow has ended, since their end waits for it.
	Deliver func(health.Syslog)
	// Reject takes whatever could not be delivered. Needed, and called as Deliver is.
	Reject func(Rejected)
}

// Rejected is input that could not be delivered.
type Rejected struct {
	// Source is "udp", "tcp" or "file".
	Source string
	// Remote is the address of the sender or the path of the file; empty when not known.
	Remote string
	// Raw is what was read, without its frame; the receiver may keep it. It is empty when Err is about the connection.
	Raw []byte
	// Err says why, in one line.
	Err error
}

// Server listens for syslog until its context ends or it is closed.
type Server struct {
	out    outlet
	limit  int
	cancel context.CancelFunc
	wg     sync.WaitGroup
	udp    *net.UDPConn
	tcp    net.Listener

	mu struct {
		sync.Mutex
		closed bool
		conns  map[net.Conn]struct{}
	}
}

// Listen opens the sockets and starts to receive. The server runs until ctx ends or Close is called; Close must be called
// in either case, to wait for its end. When an address cannot be listened on, nothing stays open and the error is a
// *ListenError; a configuration that cannot work is an ErrConfig.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.UDP == "" && cfg.TCP == "" {
		return nil, fmt.Errorf("%w: no address to listen on: set UDP or TCP", ErrConfig)
	}
	out := newOutlet(cfg)
	if err := out.check(); err != nil {
		return nil, err
	}
	s := &Server{out: out, limit: cfg.MaxConnections}
	if s.limit <= 0 {
		s.limit = defaultMaxConnections
	}
	s.mu.conns = make(map[net.Conn]struct{})

	var listen net.ListenConfig
	if cfg.UDP != "" {
		conn, err := listen.ListenPacket(ctx, "udp", cfg.UDP)
		if err != nil {
			return nil, &ListenError{Network: "udp", Address: cfg.UDP, Err: err}
		}
		s.udp = conn.(*net.UDPConn)
		// The kernel grants what its limits allow; less only means less room for bursts.
		_ = s.udp.SetReadBuffer(udpBuffer)
	}
	if cfg.TCP != "" {
		listener, err := listen.Listen(ctx, "tcp", cfg.TCP)
		if err != nil {
			if s.udp != nil {
				err = errors.Join(err, s.udp.Close())
			}
			return nil, &ListenError{Network: "tcp", Address: cfg.TCP, Err: err}
		}
		s.tcp = listener
	}

	ctx, s.cancel = context.WithCancel(ctx)
	if s.udp != nil {
		s.wg.Go(func() { s.receive(ctx) })
	}
	if s.tcp != nil {
		s.wg.Go(func() { s.accept(ctx) })
	}
	s.wg.Go(func() {
		<-ctx.Done()
		s.closeSockets()
	})
	return s, nil
}

// UDPAddr returns the address of the UDP socket with its real port, nil without UDP.
func (s *Server) UDPAddr() net.Addr {
	if s.udp == nil {
		return nil
	}
	return s.udp.LocalAddr()
}

// TCPAddr returns the address of the TCP listener with its real port, nil without TCP.
func (s *Server) TCPAddr() net.Addr {
	if s.tcp == nil {
		return nil
	}
	return s.tcp.Addr()
}

// Close stops listening, closes all connections and returns when the last handler has returned. It may be called more
// than once and by several goroutines. A message that was half received is rejected with ErrCutOff.
func (s *Server) Close() error {
	s.cancel()
	s.wg.Wait()
	return nil
}

func (s *Server) closeSockets() {
	if s.udp != nil {
		_ = s.udp.Close()
	}
	if s.tcp != nil {
		_ = s.tcp.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.closed = true
	for conn := range s.mu.conns {
		_ = conn.Close()
	}
}

// receive reads datagrams, one message each.
func (s *Server) receive(ctx context.Context) {
	buf := make([]byte, maxFrame)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.out.reject(Rejected{Source: "udp", Err: fmt.Errorf("receive: %w", err)})
			if !pause(ctx, retryPause) {
				return
			}
			continue
		}
		s.out.take(buf[:n], "udp", func() string { return from.String() })
	}
}

// accept takes connections, each of which is served by a goroutine of its own.
func (s *Server) accept(ctx context.Context) {
	for {
		conn, err := s.tcp.Accept()
		if ctx.Err() != nil {
			if conn != nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil {
			// Out of file descriptors, most likely: it passes when connections end.
			s.out.reject(Rejected{Source: "tcp", Err: fmt.Errorf("accept: %w", err)})
			if !pause(ctx, retryPause) {
				return
			}
			continue
		}
		if err := s.admit(conn); err != nil {
			_ = conn.Close()
			if !errors.Is(err, net.ErrClosed) {
				s.out.reject(Rejected{Source: "tcp", Remote: conn.RemoteAddr().String(), Err: err})
			}
			continue
		}
		s.wg.Go(func() { s.serve(conn) })
	}
}

// admit registers a connection so that closeSockets finds it.
func (s *Server) admit(conn net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.closed:
		return net.ErrClosed
	case len(s.mu.conns) >= s.limit:
		return fmt.Errorf("%w (%d)", ErrTooManyConnections, s.limit)
	}
	s.mu.conns[conn] = struct{}{}
	return nil
}

// serve reads one connection to its end. An idle one may stay as long as it likes: dead peers are found by keep-alives.
func (s *Server) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.mu.conns, conn)
	}()
	remote := func() string { return conn.RemoteAddr().String() }
	in := newFrames(conn)
	for {
		frame, err := in.next()
		switch {
		case err == nil:
			s.out.take(frame, "tcp", remote)
			continue
		case len(frame) > 0 || !isEnd(err):
			s.out.reject(Rejected{Source: "tcp", Remote: remote(), Raw: bytes.Clone(frame), Err: err})
		}
		if !errors.Is(err, ErrTooLong) || errors.Is(err, errLostFraming) {
			return
		}
	}
}

// isEnd tells that a connection ended and lost nothing: between two frames, by either side.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)
}

// outlet parses raw messages and passes them on.
type outlet struct {
	options Options // without Now
	deliver func(health.Syslog)
	reject  func(Rejected)
}

func newOutlet(cfg Config) outlet {
	return outlet{
		options: Options{Host: cfg.Host, Year: cfg.Year, Location: cfg.Location},
		deliver: cfg.Deliver, reject: cfg.Reject,
	}
}

func (o *outlet) check() error {
	if o.deliver == nil || o.reject == nil {
		return fmt.Errorf("%w: both Deliver and Reject must be set", ErrConfig)
	}
	return nil
}

// take delivers or rejects one message; blank ones are none. remote is only asked for where it is needed.
func (o *outlet) take(raw []byte, source string, remote func() string) {
	if len(bytes.Trim(raw, " \t\r\n\x00")) == 0 {
		return
	}
	options := o.options
	options.Now = time.Now()
	message, err := ParseLine(raw, options)
	if err != nil {
		o.reject(Rejected{Source: source, Remote: remote(), Raw: bytes.Clone(raw), Err: err})
		return
	}
	o.deliver(message)
}

// pause waits for d; it returns false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
