package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// clusterAttempts is how often StartCluster tries with fresh ports. A port that
// was free when it was reserved may be taken when the server binds it.
const clusterAttempts = 5

// ClusterConfig says what cluster to start.
type ClusterConfig struct {
	// Size is the number of servers, 3 or 5 as a rule. 0: 3. At least 2.
	Size int

	// Dir holds one directory per server, "n0", "n1" and so on. Empty: a fresh
	// temporary directory that Stop removes.
	Dir string

	// Logger receives the servers' logs, each under the server's name. nil:
	// silent.
	Logger *zap.Logger
}

// Cluster is a set of servers in this process, joined by routes. Its methods
// may be called from several goroutines, but StopServer and RestartServer of
// one server must not overlap.
type Cluster struct {
	cfg    ClusterConfig
	base   *storage
	client []int // client port of each server
	route  []int // route port of each server

	mu      sync.Mutex
	servers []*Server // nil: stopped
	stopped bool
}

// StartCluster runs the servers and returns once they have elected a leader of
// JetStream's meta group and all of them are current. ctx bounds the start.
func StartCluster(ctx context.Context, cfg ClusterConfig) (*Cluster, error) {
	if cfg.Size == 0 {
		cfg.Size = 3
	}
	if cfg.Size < 2 {
		return nil, fmt.Errorf("embedded: ClusterConfig.Size is %d; a cluster has at least 2 servers (use Start for one)", cfg.Size)
	}
	base, err := openStorage(cfg.Dir)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		c, err := startCluster(ctx, cfg, base)
		if err == nil {
			return c, nil
		}
		var taken *PortError
		if !errors.As(err, &taken) || attempt == clusterAttempts || ctx.Err() != nil {
			return nil, errors.Join(err, base.close())
		}
	}
}

func startCluster(ctx context.Context, cfg ClusterConfig, base *storage) (*Cluster, error) {
	ports, err := freePorts(2 * cfg.Size)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		cfg:     cfg,
		base:    base,
		client:  ports[:cfg.Size],
		route:   ports[cfg.Size:],
		servers: make([]*Server, cfg.Size),
	}
	for i := range c.servers {
		s, err := c.launch(i)
		if err != nil {
			return nil, errors.Join(err, c.stopServers())
		}
		c.servers[i] = s
	}
	if err := c.WaitReady(ctx); err != nil {
		return nil, errors.Join(err, c.stopServers())
	}
	return c, nil
}

// freePorts reserves n different ports by holding all of them open at once.
func freePorts(n int) ([]int, error) {
	var ports []int
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close() // a listener that nobody used
		}
	}()
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
		if err != nil {
			return nil, fmt.Errorf("embedded: no free port on %s: %w", loopback, err)
		}
		held = append(held, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// launch starts server i on its ports and its directory.
func (c *Cluster) launch(i int) (*Server, error) {
	name := "n" + strconv.Itoa(i)
	for _, port := range []int{c.client[i], c.route[i]} {
		if err := checkPort(loopback, port); err != nil {
			return nil, err
		}
	}
	st, err := openStorage(filepath.Join(c.base.dir, name))
	if err != nil {
		return nil, err
	}
	o, err := Config{Name: name, Port: c.client[i]}.options(st.dir)
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	o.Cluster = server.ClusterOpts{Name: "rossby", Host: loopback, Port: c.route[i]}
	for j, port := range c.route {
		if j != i {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort(loopback, strconv.Itoa(port))})
		}
	}
	logger := c.cfg.Logger
	if logger != nil {
		logger = logger.Named(name)
	}
	return launch(o, st, logger)
}

// WaitReady returns once every running server accepts connections, follows the
// leader of JetStream's meta group and has caught up with it. Use it after
// RestartServer or StopServer to let the cluster settle.
func (c *Cluster) WaitReady(ctx context.Context) error {
	return poll(ctx, func() error {
		var leader, running int
		for i, s := range c.snapshot() {
			if s == nil {
				continue
			}
			running++
			if !s.srv.ReadyForConnections(pollEvery) {
				return fmt.Errorf("server %d does not accept connections yet", i)
			}
			if !s.srv.JetStreamIsCurrent() {
				return fmt.Errorf("server %d has not caught up with the meta leader", i)
			}
			if s.srv.JetStreamIsLeader() {
				leader++
				// Only the leader knows its peers, and a leader alone is no cluster.
				if got := len(s.srv.JetStreamClusterPeers()); got < c.cfg.Size {
					return fmt.Errorf("the meta leader knows %d of %d servers", got, c.cfg.Size)
				}
			}
		}
		if leader != 1 {
			return fmt.Errorf("%d of %d running servers lead the meta group", leader, running)
		}
		return c.answers(ctx)
	})
}

// answers asks JetStream through one of the running servers.
func (c *Cluster) answers(ctx context.Context) error {
	nc, err := c.Connect(nats.NoReconnect())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ask, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = js.AccountInfo(ask)
	return err
}

func (c *Cluster) snapshot() []*Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Server(nil), c.servers...)
}

// Size is the number of servers, running or not.
func (c *Cluster) Size() int { return c.cfg.Size }

// Servers gives the servers by index; nil for one that is stopped.
func (c *Cluster) Servers() []*Server { return c.snapshot() }

// ServerNamed gives the index of the server with that name, as JetStream's
// reports use it ("leader: n2"), and -1 when there is none.
func (c *Cluster) ServerNamed(name string) int {
	for i := range c.cfg.Size {
		if name == "n"+strconv.Itoa(i) {
			return i
		}
	}
	return -1
}

// URLs are the addresses of all servers, for clients that reconnect elsewhere
// when one goes down.
func (c *Cluster) URLs() []string {
	urls := make([]string, c.cfg.Size)
	for i, port := range c.client {
		urls[i] = "nats://" + net.JoinHostPort(loopback, strconv.Itoa(port))
	}
	return urls
}

// Connect makes a connection over TCP that knows all servers, so that it
// survives the stop of some. The caller closes it.
func (c *Cluster) Connect(opts ...nats.Option) (*nats.Conn, error) {
	c.mu.Lock()
	stopped := c.stopped
	c.mu.Unlock()
	if stopped {
		return nil, ErrStopped
	}
	o := nats.GetDefaultOptions()
	o.Servers = c.URLs()
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, fmt.Errorf("embedded: connection option: %w", err)
		}
	}
	nc, err := o.Connect()
	if err != nil {
		return nil, fmt.Errorf("embedded: connect to the cluster: %w", err)
	}
	return nc, nil
}

// StopServer stops server i and waits until it is down. Its directory stays.
// Stopping a stopped server does nothing.
func (c *Cluster) StopServer(i int) error {
	c.mu.Lock()
	if i < 0 || i >= len(c.servers) {
		c.mu.Unlock()
		return fmt.Errorf("embedded: there is no server %d in a cluster of %d", i, c.cfg.Size)
	}
	s := c.servers[i]
	c.servers[i] = nil
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Stop()
}

// RestartServer stops server i if it runs and starts it again on the same
// ports and directory. It returns when the server accepts connections; use
// WaitReady to wait until it has caught up.
func (c *Cluster) RestartServer(ctx context.Context, i int) error {
	if err := c.StopServer(i); err != nil {
		return err
	}
	var s *Server
	// The port may linger for a moment in the hands of the one who stopped.
	err := poll(ctx, func() error {
		var err error
		s, err = c.launch(i)
		return err
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return errors.Join(ErrStopped, s.Stop())
	}
	c.servers[i] = s
	c.mu.Unlock()
	return poll(ctx, func() error {
		if !s.srv.ReadyForConnections(pollEvery) {
			return fmt.Errorf("server %d does not accept connections yet", i)
		}
		return nil
	})
}

// Stop ends all servers and waits for them. Further calls do nothing.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return nil
	}
	c.stopped = true
	c.mu.Unlock()
	return errors.Join(c.stopServers(), c.base.close())
}

// stopServers tells all servers at once: one that goes down alone first hands
// its leaderships over, which takes seconds and helps nobody here.
func (c *Cluster) stopServers() error {
	c.mu.Lock()
	servers := c.servers
	c.servers = make([]*Server, len(servers))
	c.mu.Unlock()
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		if s != nil {
			wg.Go(func() { errs[i] = s.Stop() })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}
