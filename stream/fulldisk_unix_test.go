//go:build unix

package stream_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// The disk itself fails, whatever the server's limits say: nats-server falls silent then.
// Everybody who writes is told so, and when there is room again, and the server has
// been restarted, what was acknowledged is there and what waited is stored.
func TestFullDisk(t *testing.T) {
	t.Run("files may not grow", func(t *testing.T) {
		// No file of this process may be larger than the limit: the same write errors as
		// those of a full disk, without having one.
		signal.Ignore(syscall.SIGXFSZ)
		defer signal.Reset(syscall.SIGXFSZ)
		fullDisk(t, t.TempDir(), func() (room func()) {
			var had syscall.Rlimit
			require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &had))
			low := had
			low.Cur = 1 << 20
			require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &low))
			return sync.OnceFunc(func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &had)) })
		})
	})
	dir := t.TempDir()
	unmount, err := mountSmall(dir)
	if err != nil {
		t.Logf("no small disk can be mounted here, so it is the limit alone: %v", err)
		return
	}
	defer func() { require.NoError(t, unmount()) }()
	t.Run("small disk", func(t *testing.T) {
		fullDisk(t, filepath.Join(dir, "jetstream"), func() (room func()) {
			filler := filepath.Join(dir, "filler")
			require.NoError(t, os.WriteFile(filler, make([]byte, smallDisk-(2<<20)), 0o600))
			return sync.OnceFunc(func() { require.NoError(t, os.Remove(filler)) })
		})
	})
}

// smallDisk is the size of one that fills soon.
const smallDisk = 24 << 20

func fullDisk(t *testing.T, dir string, fill func() (room func())) {
	ctx := testContext(t)
	s := &server{cfg: embedded.Config{
		Dir: dir, Port: embedded.RandomPort,
		ConfigFile: file(t, "server.conf", []byte("jetstream { max_file_store: 1GB }")), // it believes that there is room
	}}
	s.s = embeddedtest.StartWith(t, s.cfg)
	_, err := fmt.Sscanf(s.s.URL(), "nats://127.0.0.1:%d", &s.cfg.Port)
	require.NoError(t, err)
	c := clientOf(t, s.connect(t))
	topic := stream.Topic[[]byte]{Name: "t", Codec: stream.Bytes()}
	spec := topic.Spec()
	createTopic(t, c, spec)
	p, err := stream.NewProducer(c, topic, stream.ProducerConfig{})
	require.NoError(t, err)
	defer func() { _ = briefly(ctx, p.Close) }()
	j, err := c.OpenJournal(ctx, "j")
	require.NoError(t, err)
	require.NoError(t, j.Replay(ctx, func(stream.Entry) error { return nil }))

	room := fill()
	defer room()
	big := make([]byte, 100<<10)
	publish := func(ctx context.Context) error {
		return c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: "k", Data: big}})
	}
	stored, appended := 0, 0
	for err = briefly(ctx, publish); err == nil; err = briefly(ctx, publish) {
		stored++
	}
	told(t, err)
	require.NotZero(t, stored)
	require.NoError(t, p.Send(ctx, stream.ProducerRecord[[]byte]{Key: "late", Value: big}))
	flushed := make(chan error, 1)
	go func() { flushed <- briefly(ctx, p.Flush) }()
	for err = nil; err == nil; {
		if err = briefly(ctx, func(ctx context.Context) error { _, err := j.Append(ctx, big); return err }); err == nil {
			appended++
		}
	}
	told(t, err)
	told(t, <-flushed)

	room()
	s.restart(t)
	require.NoError(t, p.Close(ctx), "what waited is stored now")
	keys := map[string]int{}
	for _, m := range readAll(t, c, spec, 0) {
		keys[m.Key]++
	}
	require.GreaterOrEqual(t, keys["k"], stored)
	require.Equal(t, 1, keys["late"])
	j, err = c.OpenJournal(ctx, "j")
	require.NoError(t, err)
	entries := 0
	require.NoError(t, j.Replay(ctx, func(stream.Entry) error { entries++; return nil }))
	require.GreaterOrEqual(t, entries, appended)
	_, err = j.Append(ctx, big)
	require.NoError(t, err)
	t.Logf("%d records and %d entries were acknowledged before the disk was full, and are there", stored, appended)
}

// told checks the error of something that a silent server has kept waiting.
func told(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, stream.ErrSilent)
	require.ErrorContains(t, err, "disk may be full")
	require.NotContains(t, err.Error(), "\n")
}
