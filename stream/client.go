package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// minServer is the first version with fast-ingest batches and consumer reset.
const minServer = "2.14.0"

const (
	// askTimeout bounds one request to the server; loops around it retry until
	// the caller's context ends.
	askTimeout = 5 * time.Second
	// ackTimeout bounds the first attempt. A request does not notice that its
	// connection was lost, so long patience would only make that worse.
	ackTimeout = time.Second
	// The pace of those retries doubles from the first to the last.
	firstBackoff = 20 * time.Millisecond
	lastBackoff  = 2 * time.Second
)

// Config holds what topics and journals use that do not say it themselves.
type Config struct {
	// Replicas is the number of copies: 1, 3 or 5. 0: 1.
	Replicas int
	// Storage is where records are kept. DefaultStorage: File.
	Storage Storage
	// Domain is the JetStream domain to use, where the connection's own server has
	// another one: a leaf node reaches its hub's streams so. Empty: the server's.
	Domain string
	// APIPrefix is where another account's JetStream is imported to, "JS.main.API"
	// for example, instead of a Domain. That account exports, and the connection's
	// imports, as services whose responses are streams: $JS.API.> (to the prefix), the
	// topics' subjects, and _rossby.> for journals; and as a service $JS.ACK.>. Empty:
	// none.
	APIPrefix string
	// Logger is told about what was repaired: reconnects, lost
	// acknowledgements. nil: silent.
	Logger *zap.Logger
}

// Client reads and writes topics and journals over one connection. It is safe
// for use by several goroutines. It holds no goroutine and one subscription,
// and needs no Close: closing the connection, which the caller owns, is enough.
type Client struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	cfg Config
	log *zap.Logger
	// prefix is that of JetStream's subjects, "$JS.API." as a rule.
	prefix string

	acksOnce sync.Once
	acks     *ackRouter
	acksErr  error

	feeds   atomic.Int64  // that are open
	replays chan struct{} // one for each journal that is being read
	groups  sync.Map      // groupAt to struct{}: durables that StoreOffset has seen
}

// NewClient checks that the server behind nc is fit and gives a client over it.
// The error is ErrNoJetStream or *ServerVersionError where it is not.
func NewClient(nc *nats.Conn, cfg Config) (*Client, error) {
	if !legalReplicas(cfg.Replicas) {
		return nil, fmt.Errorf("stream: Config.Replicas is %d, not 1, 3 or 5 (or 0 for 1)", cfg.Replicas)
	}
	if cfg.Storage < DefaultStorage || cfg.Storage > Memory {
		return nil, fmt.Errorf("stream: Config.Storage is %v, not File or Memory", cfg.Storage)
	}
	if cfg.Replicas == 0 {
		cfg.Replicas = 1
	}
	if cfg.Storage == DefaultStorage {
		cfg.Storage = File
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if nc == nil {
		return nil, errors.New("stream: a client needs a connection (nats.Connect or Connect makes one)")
	}
	if !nc.IsConnected() {
		return nil, fmt.Errorf("stream: the connection is %v, a client needs a connected one", nc.Status())
	}
	if have := nc.ConnectedServerVersion(); olderThan(have, minServer) {
		return nil, &ServerVersionError{Have: have, Need: minServer}
	}
	prefix, err := cfg.prefix()
	if err != nil {
		return nil, err
	}
	js, err := jetstream.NewWithAPIPrefix(nc, strings.TrimSuffix(prefix, "."), jetstream.WithDefaultTimeout(askTimeout))
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	if _, err := js.AccountInfo(ctx); err != nil {
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) ||
			errors.Is(err, nats.ErrNoResponders) {
			return nil, fmt.Errorf("%w: %w", ErrNoJetStream, err)
		}
		return nil, fmt.Errorf("stream: JetStream at %s does not answer: %w", nc.ConnectedUrlRedacted(), err)
	}
	return &Client{nc: nc, js: js, cfg: cfg, log: cfg.Logger, prefix: prefix, replays: make(chan struct{}, replaysAtOnce)}, nil
}

// olderThan compares versions like "2.14.1" or "2.15.0-beta.2"; what cannot be
// read counts as new, because a fork's version says nothing.
func olderThan(have, need string) bool {
	h, n := versionParts(have), versionParts(need)
	for i := range n {
		if h[i] < 0 {
			return false
		}
		if h[i] != n[i] {
			return h[i] < n[i]
		}
	}
	return false
}

func versionParts(v string) [3]int {
	parts := [3]int{-1, -1, -1}
	v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "-")
	for i, p := range strings.SplitN(v, ".", 3) {
		n, err := strconv.Atoi(p)
		if err != nil {
			break
		}
		parts[i] = n
	}
	return parts
}

// MaxPayload is the size in bytes, headers included, of the largest message
// that the server accepts.
func (c *Client) MaxPayload() int64 { return c.nc.MaxPayload() }

// Connected reports whether there is a connection to a server at the moment.
func (c *Client) Connected() bool { return c.nc.IsConnected() }

// prefix gives the subject prefix of JetStream requests, with its last dot.
func (c Config) prefix() (string, error) {
	if c.Domain != "" && c.APIPrefix != "" {
		return "", errors.New("stream: Config has both a Domain and an APIPrefix: leave one empty")
	}
	if strings.ContainsAny(c.Domain, " \t\r\n*>.") {
		return "", fmt.Errorf("stream: Config.Domain %q is no name of a domain", c.Domain)
	}
	prefix := strings.TrimSuffix(c.APIPrefix, ".")
	if strings.ContainsAny(prefix, " \t\r\n*>") || strings.HasPrefix(prefix, ".") || strings.HasSuffix(prefix, ".") || strings.Contains(prefix, "..") {
		return "", fmt.Errorf("stream: Config.APIPrefix %q is no subject", c.APIPrefix)
	}
	switch {
	case c.Domain != "":
		return "$JS." + c.Domain + ".API.", nil
	case prefix != "":
		return prefix + ".", nil
	}
	return "$JS.API.", nil
}

// api gives the subject of a JetStream request.
func (c *Client) api(verb string, tokens ...string) string {
	return c.prefix + verb + "." + strings.Join(tokens, ".")
}

// backoff waits longer each time it is asked to.
type backoff struct{ next time.Duration }

// wait returns ctx's error when it ends first.
func (b *backoff) wait(ctx context.Context) error {
	if b.next == 0 {
		b.next = firstBackoff
	}
	t := time.NewTimer(b.next)
	defer t.Stop()
	b.next = min(2*b.next, lastBackoff)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Codes of the server for which the client library has no name: it has no room, or no peers.
const (
	codeAccountResources      jetstream.ErrorCode = 10002
	codeNoPeers               jetstream.ErrorCode = 10005 // no server, or none that is there, takes a replica
	codeInsufficientResources jetstream.ErrorCode = 10023
	codeMemoryResources       jetstream.ErrorCode = 10028
	codeStorageResources      jetstream.ErrorCode = 10047
	codeReplicasNotSupported  jetstream.ErrorCode = 10074 // the server is in no cluster
	codeStoreFailed           jetstream.ErrorCode = 10077
	codeCreateFailed          jetstream.ErrorCode = 10049 // of a stream: its files cannot be written
)

// retryable says whether asking the server again may help. What JetStream
// answers with code 5xx, and silence, are states that pass; a request that it
// calls wrong stays wrong.
func retryable(err error) bool {
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, context.Canceled) {
		return false
	}
	var gone *OffsetGoneError
	var ahead *OffsetAheadError
	var remade *RemadeError
	if errors.As(err, &gone) || errors.As(err, &ahead) || errors.As(err, &remade) {
		return false
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeNoPeers: // a 400, although an offline peer comes back; too few servers stay too few
			return strings.Contains(api.Description, "peer offline")
		case codeReplicasNotSupported, codeMemoryResources, codeStorageResources, jetstream.JSErrCodeJetStreamNotEnabledForAccount:
			return false
		}
		return api.Code >= 500
	}
	return true // no responders, timeouts, lost connections
}

// ask runs fn, which makes one request, until it succeeds, fails for good or ctx
// ends.
func (c *Client) ask(ctx context.Context, fn func(ctx context.Context) error) error {
	var b backoff
	var last error
	for patience := ackTimeout; ; patience = min(2*patience, askTimeout) {
		one, cancel := context.WithTimeout(ctx, patience)
		err := fn(one)
		cancel()
		if err == nil || !retryable(err) {
			return typed(err)
		}
		last = c.answer(ctx, err, last)
		if werr := b.wait(ctx); werr != nil {
			return fmt.Errorf("%w (last answer: %w)", werr, typed(last))
		}
	}
}

// answer gives what an attempt that has failed says about the server: ErrSilent where it
// ended without an answer although there is a connection, and what the attempt before
// it said, last, where it was not given its time.
func (c *Client) answer(ctx context.Context, err, last error) error {
	switch {
	case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
		return err
	case ctx.Err() != nil && last != nil:
		return last
	case ctx.Err() == nil && c.nc.IsConnected():
		return ErrSilent
	}
	return err
}

// streamInfo asks for the state of a backing stream.
func (c *Client) streamInfo(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	var info *jetstream.StreamInfo
	err := c.ask(ctx, func(ctx context.Context) (err error) {
		info, err = c.leaderInfo(ctx, name)
		return err
	})
	return info, err
}

// knownInfo is streamInfo of a stream that has existed: that it does not is believed when it has been said for longer than a server
// takes that was just started, or has just become a leader.
func (c *Client) knownInfo(ctx context.Context, name string) (info *jetstream.StreamInfo, err error) {
	var b backoff
	var since time.Time
	for missing := 1; ; missing++ {
		info, err = c.streamInfo(ctx, name)
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return info, err
		}
		if missing == 1 {
			since = time.Now()
		}
		if missing >= notFoundLimit && time.Since(since) >= c.settle() {
			return nil, err
		}
		if werr := b.wait(ctx); werr != nil {
			return nil, werr
		}
	}
}

// errNoLeader says that the state of a stream was told by a server that may not have all of it.
var errNoLeader = errors.New("the stream has no leader at the moment")

// leaderInfo makes one request for the state of a backing stream. While there is no leader, and for ten seconds after it was
// started, a server answers from what it has itself, which may be nothing at all (nats-server 2.15.2): such an answer is
// errNoLeader, which passes.
func (c *Client) leaderInfo(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	s, err := c.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	info := s.CachedInfo()
	if !fromLeader(info.Cluster) {
		return nil, fmt.Errorf("stream %s: %w", name, errNoLeader)
	}
	return info, nil
}

// fromLeader says whether the leader gave the answer: a server does not list itself among the replicas.
func fromLeader(cluster *jetstream.ClusterInfo) bool {
	if cluster == nil {
		return true
	}
	return cluster.Leader != "" && !slices.ContainsFunc(cluster.Replicas, func(p *jetstream.PeerInfo) bool { return p.Name == cluster.Leader })
}
