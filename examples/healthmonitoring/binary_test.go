package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// binary is the real program, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "healthmonitoring-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "healthmonitoring")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// outcome is how a run of the program ended.
type outcome struct {
	code   int // -1: killed
	alarms []alarmLine
	stderr string
}

// runBinary runs the program to its end, or kills it when ctx ends.
func runBinary(ctx context.Context, t *testing.T, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...) // ends it with SIGKILL
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		require.NoError(t, err)
	}
	o := outcome{code: cmd.ProcessState.ExitCode(), stderr: stderr.String()}
	for _, line := range strings.SplitAfter(stdout.String(), "\n") {
		if line == "" {
			continue
		}
		var a alarmLine
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			require.False(t, strings.HasSuffix(line, "\n"), "a whole line that is no alarm: %q", line)
			continue // the kill has cut it: it was not committed and comes again
		}
		o.alarms = append(o.alarms, a)
	}
	return o
}

// summaryOf returns the closing line of a run.
func summaryOf(t *testing.T, o outcome) summary {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
	var s summary
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &s), "stderr: %s", o.stderr)
	return s
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// TestBadInput gives the program what it cannot use: one clear line on standard error, the right exit code, no stack trace.
func TestBadInput(t *testing.T) {
	taken := listenAnywhere(t)
	file := write(t, "file", "")
	metrics := write(t, "metrics.csv", "time,host,name,value\n")
	brokenSchemas := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(brokenSchemas, "metric.json"), []byte(`{"type":"strin"}`), 0o600))
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"unknown flag":       {[]string{"-nope"}, 2, "-nope"},
		"stray argument":     {[]string{"stray"}, 2, "stray"},
		"exit without end":   {[]string{"-exit"}, 2, "-replay-metrics"},
		"data and nats":      {[]string{"-data", "x", "-nats", "nats://127.0.0.1:1"}, 2, "only one"},
		"creds without nats": {[]string{"-creds", "x"}, 2, "-nats"},
		"negative interval":  {[]string{"-interval", "-1s"}, 2, "-interval"},
		"broken rules":       {[]string{"-rules", write(t, "rules.json", `{"rules":[{"name":"A","metric":"m","abov":1}]}`)}, 1, "abov"},
		"rules not JSON":     {[]string{"-rules", write(t, "rules.json", "{\n\"rules\": oops}")}, 1, "rules.json"},
		"missing rules":      {[]string{"-rules", filepath.Join(t.TempDir(), "none.json")}, 1, "none.json"},
		"broken schema":      {[]string{"-schemas", brokenSchemas}, 1, "metric.json"},
		"missing schemas":    {[]string{"-schemas", filepath.Join(t.TempDir(), "none")}, 1, "none"},
		"unreachable server": {[]string{"-nats", "nats://user:secret@127.0.0.1:1"}, 1, "127.0.0.1:1"},
		"missing creds":      {[]string{"-nats", "nats://127.0.0.1:1", "-creds", filepath.Join(t.TempDir(), "none.creds")}, 1, ""},
		"taken port":         {[]string{"-syslog", taken}, 1, taken},
		"data is a file":     {[]string{"-data", filepath.Join(file, "x")}, 1, "file"},
		"missing replay":     {[]string{"-replay-metrics", filepath.Join(t.TempDir(), "none.csv"), "-exit"}, 1, "none.csv"},
		"missing followed":   {[]string{"-schemas", brokenSchemas, "-replay-metrics", metrics, "-exit"}, 1, "metric.json"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			o := runBinary(ctx, t, c.args...)
			require.Equal(t, c.code, o.code, "stderr: %s", o.stderr)
			require.Contains(t, o.stderr, c.want)
			require.NotContains(t, o.stderr, "goroutine ")
			require.NotContains(t, o.stderr, "secret")
			require.Regexp(t, `^healthmonitoring: [^\n]+\n$`, o.stderr, "one line")
		})
	}
}
