package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
)

func TestZeroConfigIsReadyAndHasNoPort(t *testing.T) {
	s := embeddedtest.Start(t)
	require.Empty(t, s.URL())
	js, err := jetstream.New(embeddedtest.ConnectTo(t, s))
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}})
	require.NoError(t, err)
	ack, err := js.Publish(t.Context(), "s", nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, ack.Sequence)
}

func TestRandomPortListensOnLoopbackOnly(t *testing.T) {
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	require.Contains(t, s.URL(), "127.0.0.1:")
	nc, err := nats.Connect(s.URL())
	require.NoError(t, err)
	nc.Close()
}

func TestTakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port

	_, err = embedded.Start(t.Context(), embedded.Config{Port: port})
	var taken *embedded.PortError
	require.ErrorAs(t, err, &taken)
	require.Equal(t, port, taken.Port)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.ErrorContains(t, err, strconv.Itoa(port))
}

func TestBadConfigIsRefused(t *testing.T) {
	_, err := embedded.Start(t.Context(), embedded.Config{Port: -2, Mappings: map[string]string{"a": ""}})
	require.ErrorContains(t, err, "Config.Port")
	require.ErrorContains(t, err, "Config.Mappings")

	_, err = embedded.Start(t.Context(), embedded.Config{Mappings: map[string]string{"in.*": "out.{{wildcard(7)}}"}})
	require.ErrorContains(t, err, "mapping")

	_, err = embedded.StartCluster(t.Context(), embedded.ClusterConfig{Size: 1})
	require.ErrorContains(t, err, "Size")
}

func TestEndedContextStopsTheStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	_, err := embedded.Start(ctx, embedded.Config{Dir: dir})
	if err == nil {
		t.Fatal("a start with an ended context must fail")
	}
	require.ErrorIs(t, err, context.Canceled)
	embeddedtest.StartWith(t, embedded.Config{Dir: dir}) // nothing is left behind
}

func TestUnusableDirectories(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	var bad *embedded.DirError

	_, err := embedded.Start(t.Context(), embedded.Config{Dir: file})
	require.ErrorAs(t, err, &bad)
	require.Equal(t, file, bad.Dir)

	_, err = embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(file, "below")})
	require.ErrorAs(t, err, &bad)

	// Permissions do not bind root, so the read-only filesystem of the kernel
	// stands in for a directory that nobody may write.
	_, err = embedded.Start(t.Context(), embedded.Config{Dir: "/proc/self"})
	require.ErrorAs(t, err, &bad)
}

func TestDirectoryIsCreatedPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	embeddedtest.StartWith(t, embedded.Config{Dir: dir})
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestOneServerPerDirectory(t *testing.T) {
	dir := t.TempDir()
	first := embeddedtest.StartWith(t, embedded.Config{Dir: dir})
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
	require.ErrorIs(t, err, embedded.ErrDirInUse)
	require.ErrorContains(t, err, dir)

	require.NoError(t, first.Stop())
	embeddedtest.StartWith(t, embedded.Config{Dir: dir})
}

func TestStopIsIdempotentAndRemovesTheTemporaryDirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := embeddedtest.Start(t)
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Len(t, left, 1)

	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	left, err = os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = s.Connect()
	require.ErrorIs(t, err, embedded.ErrStopped)
}

func TestDataSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := embeddedtest.StartWith(t, embedded.Config{Dir: dir})
	js, err := jetstream.New(embeddedtest.ConnectTo(t, s))
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}})
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "s", []byte("kept"))
	require.NoError(t, err)
	require.NoError(t, s.Stop())

	js, err = jetstream.New(embeddedtest.ConnectTo(t, embeddedtest.StartWith(t, embedded.Config{Dir: dir})))
	require.NoError(t, err)
	st, err := js.Stream(t.Context(), "s")
	require.NoError(t, err)
	m, err := st.GetMsg(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "kept", string(m.Data))
}

// Every publish that was acknowledged before SIGKILL is there afterwards, and
// the lock of the killed process stands in nobody's way.
func TestAcknowledgedDataSurvivesSIGKILL(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		acked := killAfter(t, dir, 300)
		s := embeddedtest.StartWith(t, embedded.Config{Dir: dir})
		js, err := jetstream.New(embeddedtest.ConnectTo(t, s))
		require.NoError(t, err)
		st, err := js.Stream(t.Context(), "kept")
		require.NoError(t, err)
		require.GreaterOrEqual(t, st.CachedInfo().State.LastSeq, acked)
		require.Equal(t, st.CachedInfo().State.LastSeq, st.CachedInfo().State.Msgs, "no hole")
		require.NoError(t, js.DeleteStream(t.Context(), "kept"))
		require.NoError(t, s.Stop())
	}
}

// killAfter runs the child program until it has acknowledged n publishes, kills
// it and returns the last sequence that it had acknowledged.
func killAfter(t *testing.T, dir string, n uint64) uint64 {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var last uint64
	killed := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		last, err = strconv.ParseUint(lines.Text(), 10, 64)
		require.NoError(t, err)
		if last >= n && !killed {
			_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
			require.ErrorIs(t, err, embedded.ErrDirInUse, "while the other process lives")
			require.NoError(t, cmd.Process.Kill())
			killed = true
		}
	}
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.True(t, killed)
	return last
}

func TestLogGoesToZap(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	embeddedtest.StartWith(t, embedded.Config{Name: "logged", Logger: zap.New(core)})
	require.NotZero(t, logs.FilterMessageSnippet("Server is ready").Len())
}

func TestNoJetStream(t *testing.T) {
	nc := embeddedtest.ConnectTo(t, embeddedtest.StartWith(t, embedded.Config{NoJetStream: true}))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.AccountInfo(t.Context())
	require.Error(t, err)
	require.NoError(t, nc.Flush())
}

func TestMappingRewritesSubjects(t *testing.T) {
	nc := embeddedtest.ConnectTo(t, embeddedtest.StartWith(t, embedded.Config{
		Mappings: map[string]string{"in.*": "out.{{wildcard(1)}}"},
	}))
	sub, err := nc.SubscribeSync("out.>")
	require.NoError(t, err)
	require.NoError(t, nc.Publish("in.a", nil))
	m, err := sub.NextMsg(30 * time.Second)
	require.NoError(t, err)
	require.Equal(t, "out.a", m.Subject)
}

func ExampleStart() {
	ctx := context.Background()
	s, err := embedded.Start(ctx, embedded.Config{})
	if err != nil {
		panic(err)
	}
	nc, err := s.Connect()
	if err != nil {
		panic(errors.Join(err, s.Stop()))
	}
	nc.Close()
	if err := s.Stop(); err != nil {
		panic(err)
	}
	// Output:
}

// A configuration file brings what Config has no field for, and cannot open the
// server to the network.
func TestConfigFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.conf")
	require.NoError(t, os.WriteFile(path, []byte("host: 0.0.0.0\nport: 4222\nserver_name: filed\nauthorization { user: ann, password: pw }"), 0o600))
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort, ConfigFile: path})
	require.Equal(t, "filed", s.Name())
	require.Contains(t, s.URL(), "127.0.0.1:")
	_, err := nats.Connect(s.URL())
	require.ErrorIs(t, err, nats.ErrAuthorization)
	nc, err := nats.Connect(s.URL(), nats.UserInfo("ann", "pw"))
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.AccountInfo(t.Context())
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(path, []byte("authorization {"), 0o600))
	for _, bad := range []string{path, path + "x"} {
		_, err := embedded.Start(t.Context(), embedded.Config{ConfigFile: bad})
		require.ErrorContains(t, err, "Config.ConfigFile")
	}
}
