// Health monitoring is the main job of Rossby, end to end: samples of this machine and its log lines are published to topics,
// joined in time by host, and rules raise alarms that carry the log lines around the breach.
//
//	go run ./examples/healthmonitoring
//
// starts everything that is needed; -help lists the flags. Alarms are printed as JSON lines on standard output, described by
// schemas/alarm.json, and as text for people on standard error.
//
// # Telling people
//
// notify.yaml is a sample of who is told of alarms, and when. With it they arrive at a web hook, as Alertmanager's JSON, and at a subject of NATS:
//
//	go run ./examples/healthmonitoring -notify examples/healthmonitoring/notify.yaml \
//	  -tell chat=http://127.0.0.1:9999 -tell pager=nats:alerts.pager
//
// A secret URL comes from the environment or a file: -tell chat=env:CHAT_URL, -tell chat=file:/run/secrets/chat. With -nats, and a server of
// your own, notices are seen and alarms are silenced by
//
//	nats sub alerts.pager
//	nats kv put silences load '{"matchers":[{"name":"alertname","value":"HighLoad"}],"startsAt":"2026-01-31T12:00:00Z",
//	  "endsAt":"2026-01-31T14:00:00Z","createdBy":"ann","comment":"a test"}'
//
// A replay tells nobody.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process around it. It returns the exit code: 0, 1 for what went wrong, 2 for wrong flags.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	switch {
	case err != nil:
	case o.testRules != "":
		err = testRules(ctx, o, stdout)
	default:
		err = monitor(ctx, o, stdout, stderr)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, "healthmonitoring:", oneLine(err))
		return 2
	default:
		fmt.Fprintln(stderr, "healthmonitoring:", oneLine(err))
		return 1
	}
}

// redact leaves the secrets out of a server's URL.
func redact(servers string) string {
	list := strings.Split(servers, ",")
	for i, server := range list {
		u, err := url.Parse(server)
		if err != nil {
			list[i] = "(a URL that cannot be read)"
			continue
		}
		if u.User != nil {
			u.User = url.User("...")
		}
		list[i] = u.String()
	}
	return strings.Join(list, ",")
}
