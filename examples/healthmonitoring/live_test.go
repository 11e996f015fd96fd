package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/rulebucket"
	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/schemas"
	"github.com/rossby-streams/rossby/stream"
)

// TestLiveAlarmCarriesTheLogLine runs the program as a user would: it samples this machine, is sent log lines over UDP and TCP,
// and must raise an alarm that carries them; asked to stop, it must account for everything that came in.
func TestLiveAlarmCarriesTheLogLine(t *testing.T) {
	rules := write(t, "rules.json", `{"rules":[{"name":"Alive","metric":"load1","above":-1,"for":"3s","severity":"info"}]}`)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-syslog", "127.0.0.1:0", "-interval", "200ms", "-rules", rules, "-metrics", ":0")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var said []string
	var wg sync.WaitGroup
	ports, scrapes := make(chan []string, 1), make(chan string, 1)
	wg.Go(func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			said = append(said, lines.Text())
			if m := regexp.MustCompile(`syslog on (\S+) \(UDP\) and (\S+) \(TCP\)`).FindStringSubmatch(lines.Text()); m != nil {
				ports <- m
			}
			if m := regexp.MustCompile(`metrics on (http://127.0.0.1:\S+)`).FindStringSubmatch(lines.Text()); m != nil {
				scrapes <- m[1]
			}
		}
	})
	at, metrics := <-ports, <-scrapes
	host, err := os.Hostname()
	require.NoError(t, err)
	udp, err := net.Dial("udp", at[1])
	require.NoError(t, err)
	defer func() { _ = udp.Close() }()
	_, err = fmt.Fprintf(udp, "<26>1 %s %s app - - - disk failure", time.Now().Format("2006-01-02T15:04:05.000000Z07:00"), host)
	require.NoError(t, err)
	tcp, err := net.Dial("tcp", at[2])
	require.NoError(t, err)
	defer func() { _ = tcp.Close() }()
	text := fmt.Sprintf("<27>1 %s %s app - - - over tcp", time.Now().Format("2006-01-02T15:04:05.000000Z07:00"), host)
	_, err = fmt.Fprintf(tcp, "%d %s%s\nrubbish\n", len(text), text, text)
	require.NoError(t, err)

	schema, err := schemas.Builtin("alarm")
	require.NoError(t, err)
	fired := false
	for lines := bufio.NewScanner(stdout); !fired && lines.Scan(); {
		require.NoError(t, schema.Validate(lines.Bytes()))
		var a alarmLine
		require.NoError(t, json.Unmarshal(lines.Bytes(), &a))
		if fired = a.State == "firing"; fired {
			require.Equal(t, 3, a.Context.Total, "%+v", a)
			require.Equal(t, map[string]int{"crit": 1, "err": 2}, a.Context.BySeverity)
			var messages []string
			for _, l := range a.Context.Lines {
				messages = append(messages, l.Message)
			}
			require.Equal(t, []string{"disk failure", "over tcp", "over tcp"}, messages)
		}
	}
	require.True(t, fired, "no alarm fired")
	requireMetrics(t, metrics)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	wg.Wait()
	require.NoError(t, cmd.Wait())
	var s summary
	require.NoError(t, json.Unmarshal([]byte(said[len(said)-1]), &s), strings.Join(said, "\n"))
	require.Equal(t, 4, s.Syslogs)
	require.Equal(t, 1, s.Dead, "the rubbish")
	require.Equal(t, s.Metrics+s.Syslogs, s.Processed+s.Late+s.Dead)
	require.Positive(t, s.Metrics)
}

// requireMetrics scrapes the program.
func requireMetrics(t *testing.T, url string) {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	answer, err := http.Get(url) // #nosec: of this very test
	require.NoError(t, err)
	defer func() { require.NoError(t, answer.Body.Close()) }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	for _, metric := range []string{`rossby_task_records_total\{app="health",.*\} [1-9]`, `rossby_task_state\{app="health",.*state="running".*\} 1`} {
		require.True(t, regexp.MustCompile("(?m)^"+metric).Match(text), metric)
	}
}

// TestRulesInABucket: a rule is put into a bucket, a bad one after it, and then removed, while the program runs.
func TestRulesInABucket(t *testing.T) {
	server := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	rules := write(t, "rules.json", `{"rules":[{"name":"Never","metric":"load1","below":-1}]}`)
	js, err := jetstream.New(embeddedtest.ConnectTo(t, server))
	require.NoError(t, err)
	bucket, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "rules"})
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, binary, "-nats", server.URL(), "-syslog", "", "-interval", "100ms", "-rules", rules, "-rules-bucket", "rules")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	next := func() (a alarmLine) {
		require.True(t, lines.Scan(), "%v", lines.Err())
		require.NoError(t, json.Unmarshal(lines.Bytes(), &a))
		return a
	}
	_, err = bucket.PutString(ctx, "Busy", `{"metric":"load1","above":-1,"if":"metric.value >= 0"}`)
	require.NoError(t, err)
	a := next()
	require.Equal(t, []string{"Busy", "firing", "warning"}, []string{a.Rule, a.State, a.Severity})
	for text, want := range map[string]string{
		`{"metric":"load1","if":"metric.valeu > 3"}`:             "line 1, column",
		`{"metric":"load1","above":1,"context":{"within":"2h"}}`: "there are those within 1m0s",
	} {
		revision, err := bucket.PutString(ctx, "Busy", text)
		require.NoError(t, err)
		var status rulebucket.Status
		require.Eventually(t, func() bool {
			kv, err := js.KeyValue(ctx, "rules-status")
			require.NoError(t, err)
			entry, err := kv.Get(ctx, "Busy")
			return err == nil && json.Unmarshal(entry.Value(), &status) == nil && status.Revision == revision
		}, 30*time.Second, 10*time.Millisecond)
		require.Equal(t, rulebucket.Refused, status.State)
		require.Contains(t, status.Error, want)
		require.Equal(t, uint64(1), status.InForce)
	}
	_, err = bucket.PutString(ctx, "Never", `{"metric":"load1","above":1}`) // a name of the file
	require.NoError(t, err)
	require.NoError(t, bucket.Delete(ctx, "Busy"))
	a = next()
	require.Equal(t, []string{"Busy", "resolved", "the rule was removed"}, []string{a.Rule, a.State, a.Reason})
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait())
}

// TestServerOfYourOwn replays into a server that runs elsewhere, twice: the second time everything is there already.
func TestServerOfYourOwn(t *testing.T) {
	server := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	r := record(t, 3)
	args := append(r.args(t, ""), "-nats", server.URL())
	o := runBinary(t.Context(), t, args...)
	require.Equal(t, 0, o.code, o.stderr)
	r.check(t, o.alarms)
	r.checkSummary(t, summaryOf(t, o))
	again := runBinary(t.Context(), t, args...)
	require.Equal(t, 0, again.code, again.stderr)
	require.Empty(t, again.alarms)
	r.checkSummary(t, summaryOf(t, again))
}

func TestTopicWithOtherPartitionsIsRefused(t *testing.T) {
	server := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	client, err := stream.NewClient(embeddedtest.ConnectTo(t, server), stream.Config{})
	require.NoError(t, err)
	require.NoError(t, client.CreateTopic(t.Context(), stream.TopicSpec{Name: "metrics", Partitions: 3}))
	o := runBinary(t.Context(), t, "-nats", server.URL(), "-syslog", "", "-interval", "0")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "metrics")
	require.Contains(t, o.stderr, "3")
	require.Equal(t, 1, strings.Count(strings.TrimSpace(o.stderr), "\n")+1, "one line: %s", o.stderr)
}

func TestDirectoryInUseIsRefused(t *testing.T) {
	dir := t.TempDir()
	embeddedtest.StartWith(t, embedded.Config{Dir: dir})
	o := runBinary(t.Context(), t, "-data", dir)
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, dir)
	require.Contains(t, o.stderr, "in use")
}
