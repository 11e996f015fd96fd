package stream_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// TestMain makes properties try 25 cases, since each breaks connections and waits for
// new ones. -rapid.checks on the command line decides.
func TestMain(m *testing.M) {
	if spec := os.Getenv(memberEnv); spec != "" {
		memberMain(spec)
		return
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "25"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	// A server of a cluster that is stopped leaves these two behind now and then (nats-server 2.15.2).
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

// patience bounds what a test waits for. Tests that pass never come near it.
const patience = 2 * time.Minute

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// reconnecting makes connections survive restarts of the server quickly.
func reconnecting() []nats.Option {
	return []nats.Option{
		nats.MaxReconnects(-1),
		nats.ReconnectWait(10 * time.Millisecond),
		// Tests break connections; the library would print each.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}
}

func newClient(t testing.TB) *stream.Client {
	t.Helper()
	return clientOf(t, embeddedtest.Connect(t))
}

func clientOf(t testing.TB, nc *nats.Conn) *stream.Client {
	t.Helper()
	c, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	return c
}

func createTopic(t testing.TB, c *stream.Client, spec stream.TopicSpec) {
	t.Helper()
	require.NoError(t, c.CreateTopic(testContext(t), spec))
}

// server is a server on a directory and a port that can be restarted.
type server struct {
	cfg embedded.Config
	s   *embedded.Server
}

func restartable(t testing.TB) *server {
	t.Helper()
	s := &server{cfg: embedded.Config{Dir: t.TempDir(), Port: embedded.RandomPort}}
	s.s = embeddedtest.StartWith(t, s.cfg)
	_, err := fmt.Sscanf(s.s.URL(), "nats://127.0.0.1:%d", &s.cfg.Port)
	require.NoError(t, err)
	return s
}

func (s *server) connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.s.URL(), append(reconnecting(), opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		closed := nc.StatusChanged(nats.CLOSED)
		nc.Close()
		<-closed
	})
	return nc
}

func (s *server) restart(t testing.TB) {
	t.Helper()
	require.NoError(t, s.s.Stop())
	s.s = embeddedtest.StartWith(t, s.cfg)
}

// collector takes what a Reader delivers.
type collector struct {
	mu   sync.Mutex
	msgs []stream.Message
	errs []error
}

func (c *collector) config(from uint64) stream.ReaderConfig {
	return stream.ReaderConfig{
		From: from,
		Deliver: func(m stream.Message) {
			c.mu.Lock()
			c.msgs = append(c.msgs, m)
			c.mu.Unlock()
		},
		Failed: func(err error) {
			c.mu.Lock()
			c.errs = append(c.errs, err)
			c.mu.Unlock()
		},
	}
}

func (c *collector) snapshot() []stream.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]stream.Message(nil), c.msgs...)
}

func (c *collector) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errs) == 0 {
		return nil
	}
	return c.errs[0]
}

func (c *collector) waitFor(t testing.TB, n int) []stream.Message {
	t.Helper()
	require.Eventually(t, func() bool { return len(c.snapshot()) >= n }, patience, time.Millisecond)
	return c.snapshot()
}

// readAll reads a partition from its beginning to its present end.
func readAll(t testing.TB, c *stream.Client, spec stream.TopicSpec, part int) []stream.Message {
	t.Helper()
	ctx := testContext(t)
	var got collector
	r, err := c.OpenReader(ctx, spec, part, got.config(0))
	require.NoError(t, err)
	defer r.Close()
	require.Eventually(t, func() bool {
		done, err := r.CaughtUp(ctx)
		return err == nil && done
	}, patience, time.Millisecond)
	require.NoError(t, got.failure())
	return got.snapshot()
}

// jsMsg makes a message as a foreign client would.
func jsMsg(subject string, headers map[string]string) *nats.Msg {
	m := nats.NewMsg(subject)
	for k, v := range headers {
		m.Header[k] = []string{v}
	}
	return m
}
