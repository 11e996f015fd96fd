package syslogd

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type assertT = assert.CollectT

// logFile is a log file as a program writes it.
type logFile struct {
	t    *testing.T
	file *os.File
}

func create(t *testing.T, path string) *logFile {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return &logFile{t: t, file: file}
}

func (l *logFile) write(text string) {
	l.t.Helper()
	_, err := l.file.WriteString(text)
	require.NoError(l.t, err)
}

func follow(t *testing.T, path string) *catcher {
	t.Helper()
	caught := &catcher{}
	// What Follow does, but the test goes on only when the end of the file has been found.
	w, err := watch(path, Config{Host: "here", Location: time.UTC, Deliver: caught.deliver, Reject: caught.reject})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	return caught
}

func TestFollowBeginsAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log := create(t, path)
	log.write("Nov  3 05:00:01 web1 app: old\nNov  3 05:00:01 web1 app: being ")
	caught := follow(t, path)
	log.write("written\n\n2026-11-03T05:00:01.5Z web1 app[1]: modern\nno syslog\n<26>1 2026-11-03T05:00:01Z w a - - - new\nNov  3")
	caught.waitTexts(t, "being written", "modern", "new")
	r := caught.waitRejected(t, 1)[0]
	require.Equal(t, "file", r.Source)
	require.Equal(t, path, r.Remote)
	require.Equal(t, "no syslog", string(r.Raw))
	log.write(" 05:00:01 web1 app: split\n")
	caught.waitTexts(t, "being written", "modern", "new", "split")
}

func TestFollowWaitsForTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	caught := follow(t, path)
	create(t, path).write("<13>first\n")
	caught.waitTexts(t, "first")
}

// TestFollowRotation renames the file while its program still writes to it, as logrotate does.
func TestFollowRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	old := create(t, path)
	caught := follow(t, path)
	want := []string{}
	for _, n := range []string{"1", "2", "3"} {
		old.write("<13>a" + n + "\n")
		require.NoError(t, os.Rename(path, path+"."+n))
		old.write("<13>b" + n + "\n")
		successor := create(t, path)
		want = append(want, "a"+n, "b"+n)
		caught.waitTexts(t, want...)
		// The new file is there and empty, the program has not opened it yet.
		old.write("<13>c" + n + "\n<13>no newline" + n)
		want = append(want, "c"+n)
		caught.waitTexts(t, want...)
		old.write(", but the end")
		successor.write("<13>d" + n + "\n")
		want = append(want, "no newline"+n+", but the end", "d"+n)
		caught.waitTexts(t, want...)
		old = successor
	}
	require.Empty(t, caught.rejections())
}

func TestFollowTruncation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log := create(t, path)
	caught := follow(t, path)
	log.write("<13>one, which is long\n<13>half")
	caught.waitTexts(t, "one, which is long")
	require.NoError(t, log.file.Truncate(0))
	r := caught.waitRejected(t, 1)[0]
	require.ErrorIs(t, r.Err, ErrCutOff)
	require.Equal(t, "<13>half", string(r.Raw))
	log.write(strings.Repeat("\x00", 100) + "<13>two\n")
	caught.waitTexts(t, "one, which is long", "two")
}

func TestFollowLinesTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log := create(t, path)
	caught := follow(t, path)
	log.write("<13>" + strings.Repeat("x", 300<<10))
	r := caught.waitRejected(t, 1)[0]
	require.ErrorIs(t, r.Err, ErrTooLong)
	require.Len(t, r.Raw, maxFrame)
	longest := strings.Repeat("y", maxFrame-4)
	log.write("xxx\n<13>" + longest + "\n<13>two\n")
	caught.waitTexts(t, longest, "two")
	require.Len(t, caught.rejections(), 1)
	require.True(t, strings.HasPrefix(string(r.Raw), "<13>xxx"), "the raw bytes are the receiver's")
}

func TestFollowRefusesWhatIsNoFile(t *testing.T) {
	caught := &catcher{}
	cfg := Config{Deliver: caught.deliver, Reject: caught.reject}
	require.ErrorContains(t, Follow(t.Context(), t.TempDir(), cfg), "is not a regular file")
	require.ErrorIs(t, Follow(t.Context(), filepath.Join(t.TempDir(), "log"), Config{}), ErrConfig)
}

func TestFollowEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	create(t, path).write("<13>old\n")
	caught := &catcher{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Follow(ctx, path, Config{Deliver: caught.deliver, Reject: caught.reject}) }()
	cancel()
	require.NoError(t, <-done)
	require.Empty(t, caught.texts())
}

// TestFollowTellsATroubleOnce replaces the file by something that cannot be read, and repairs it.
func TestFollowTellsATroubleOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	caught := follow(t, path)
	require.NoError(t, os.Mkdir(path, 0o700))
	r := caught.waitRejected(t, 1)[0]
	require.Empty(t, r.Raw)
	require.ErrorContains(t, r.Err, "is not a regular file")
	require.NoError(t, os.Remove(path))
	create(t, path).write("<13>repaired\n")
	caught.waitTexts(t, "repaired")
	require.Len(t, caught.rejections(), 1)
}

func TestLastLine(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "a": 0, "a\n": 2, "a\nb": 2,
		"a\n" + strings.Repeat("x", maxFrame-1): 2,
		"a\n" + strings.Repeat("x", maxFrame+5): maxFrame + 7,
	} {
		path := filepath.Join(t.TempDir(), "log")
		create(t, path).write(text)
		file, err := os.Open(path)
		require.NoError(t, err)
		got, err := lastLine(file)
		require.NoError(t, err)
		require.Equal(t, want, got, "%.10q", text)
		require.NoError(t, file.Close())
	}
}
