//go:build unix

package stream_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

const (
	// smallFilesEnv makes the test binary a server whose files cannot grow beyond
	// smallFile, in the directory that it names: it fails as with a full disk, without
	// one. The limit is a whole process's.
	smallFilesEnv = "ROSSBY_TEST_SMALL_FILES"
	smallFile     = 1 << 20
	// smallDisk is the size of a disk that fills soon.
	smallDisk = 24 << 20
)

func init() { //nolint:gochecknoinits // a process of its own, see smallFilesEnv
	if dir := os.Getenv(smallFilesEnv); dir != "" {
		if err := smallFilesMain(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// smallFilesMain says where its server is and ends with its standard input.
func smallFilesMain(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: smallFile, Max: smallFile}); err != nil {
		return err
	}
	s, err := embedded.Start(context.Background(), trusting(dir))
	if err != nil {
		return err
	}
	if _, err = fmt.Println(s.URL()); err == nil {
		_, err = io.Copy(io.Discard, os.Stdin)
	}
	_ = s.Stop() // its files are not whole, whatever it says
	return err
}

// trusting gives a server that believes that there is room; its file is beside dir.
func trusting(dir string) embedded.Config {
	return embedded.Config{Dir: dir, Port: embedded.RandomPort, ConfigFile: dir + ".conf"}
}

func writeTrusting(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.WriteFile(trusting(dir).ConfigFile, []byte("jetstream { max_file_store: 1GB }"), 0o600))
}

// The disk itself fails, whatever the server's limits say: nats-server falls silent then.
// Everybody who writes is told so, and when there is room again, and the server has
// been restarted, what was acknowledged is there and what waited is stored.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	t.Run("files cannot grow", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "jetstream")
		writeTrusting(t, dir)
		binary, err := os.Executable()
		require.NoError(t, err)
		child := exec.CommandContext(testContext(t), binary)
		child.Env = append(os.Environ(), smallFilesEnv+"="+dir)
		child.Stderr = os.Stderr
		stdin, err := child.StdinPipe()
		require.NoError(t, err)
		stdout, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		line, err := bufio.NewReader(stdout).ReadString('\n')
		require.NoError(t, err)
		s := &server{cfg: trusting(dir)}
		_, err = fmt.Sscanf(line, "nats://127.0.0.1:%d", &s.cfg.Port)
		require.NoError(t, err)
		fullDisk(t, strings.TrimSpace(line), func() {}, func() {
			require.NoError(t, stdin.Close())
			require.NoError(t, child.Wait())
			s.s = embeddedtest.StartWith(t, s.cfg)
		})
	})
	disk := t.TempDir()
	unmount, err := mountSmall(disk)
	if err != nil {
		t.Logf("no small disk can be mounted here, so it is the limit alone: %v", err)
		return
	}
	defer func() { require.NoError(t, unmount()) }()
	t.Run("small disk", func(t *testing.T) {
		dir, filler := filepath.Join(disk, "jetstream"), filepath.Join(disk, "filler")
		writeTrusting(t, dir)
		s := &server{cfg: trusting(dir)}
		s.s = embeddedtest.StartWith(t, s.cfg)
		_, err := fmt.Sscanf(s.s.URL(), "nats://127.0.0.1:%d", &s.cfg.Port)
		require.NoError(t, err)
		fullDisk(t, s.s.URL(), func() {
			require.NoError(t, os.WriteFile(filler, make([]byte, smallDisk-(2<<20)), 0o600))
		}, func() {
			require.NoError(t, os.Remove(filler))
			s.restart(t)
		})
	})
}

// fullDisk fills the server's disk, and goes on when again has made room and restarted it.
func fullDisk(t *testing.T, url string, fill, again func()) {
	ctx := testContext(t)
	nc, err := nats.Connect(url, reconnecting()...)
	require.NoError(t, err)
	defer func() {
		closed := nc.StatusChanged(nats.CLOSED)
		nc.Close()
		<-closed
	}()
	c := clientOf(t, nc)
	topic := stream.Topic[[]byte]{Name: "t", Codec: stream.Bytes()}
	spec := topic.Spec()
	createTopic(t, c, spec)
	p, err := stream.NewProducer(c, topic, stream.ProducerConfig{})
	require.NoError(t, err)
	defer func() { _ = briefly(ctx, p.Close) }()
	j, err := c.OpenJournal(ctx, "j")
	require.NoError(t, err)
	require.NoError(t, j.Replay(ctx, func(stream.Entry) error { return nil }))

	fill()
	big := make([]byte, 100<<10)
	publish := func(ctx context.Context) error {
		return c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: "k", Data: big}})
	}
	stored, appended := 0, 0
	for err = patiently(ctx, publish); err == nil; err = patiently(ctx, publish) {
		stored++
	}
	told(t, err)
	require.NotZero(t, stored)
	require.NoError(t, p.Send(ctx, stream.ProducerRecord[[]byte]{Key: "late", Value: big}))
	flushed := make(chan error, 1)
	go func() { flushed <- patiently(ctx, p.Flush) }()
	for err = nil; err == nil; {
		if err = patiently(ctx, func(ctx context.Context) error { _, err := j.Append(ctx, big); return err }); err == nil {
			appended++
		}
	}
	told(t, err)
	told(t, <-flushed)

	again()
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

// patiently gives fn the time in which a server's silence is noticed.
func patiently(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return fn(ctx)
}

// told checks the error of something that a silent server has kept waiting.
func told(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, stream.ErrSilent)
	require.ErrorContains(t, err, "disk may be full")
	require.NotContains(t, err.Error(), "\n")
}
