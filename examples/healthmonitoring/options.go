package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	data, nats, creds, tlsCA    string
	syslog                      string
	interval                    time.Duration
	rules, schemas, testRules   string
	rulesBucket, metrics, api   string
	notify                      string
	tell                        stringList
	follow                      stringList
	replayMetrics, replaySyslog string
	year                        int
	exit                        bool
}

type stringList []string

// String implements flag.Value.
func (l *stringList) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *stringList) Set(s string) error { *l = append(*l, s); return nil }

// errUsage marks a command line that cannot be understood: exit code 2.
var errUsage = errors.New("wrong usage")

const usage = `Health monitoring: metrics and log lines of hosts, joined in time; thresholds raise alarms that carry the log lines
around the breach. Alarms are printed as JSON lines on standard output and as text on standard error.

Without flags it starts its own NATS server in memory, samples this machine and receives syslog on loopback.

Usage: healthmonitoring [flags]
`

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("healthmonitoring", flag.ContinueOnError)
	f.SetOutput(io.Discard) // what is wrong is said once, in one line
	f.Usage = func() {}
	f.StringVar(&o.data, "data", "", "keep all data in this `folder`, and go on from it after a restart (default: in memory)")
	f.StringVar(&o.nats, "nats", "", "connect to the NATS server at this `URL` instead of starting one (tls:// for TLS)")
	f.StringVar(&o.creds, "creds", "", "credentials `file` for -nats")
	f.StringVar(&o.tlsCA, "tls-ca", "", "`file` with the certificate authority of the server, for -nats with TLS")
	f.StringVar(&o.syslog, "syslog", "127.0.0.1:5514", "receive syslog on this `address`, UDP and TCP; port 0 picks free ones, empty is off")
	f.StringVar(&o.metrics, "metrics", "", "show what the pipeline does as Prometheus metrics on http://`address`/metrics; a bare :port is on loopback, empty is off")
	f.StringVar(&o.api, "api", "", "serve Alertmanager's API v2 on http://`address`, for amtool and dashboards, with acknowledgements and explanations beside it; notices are printed on standard error; a bare :port is on loopback, empty is off")
	f.DurationVar(&o.interval, "interval", 2*time.Second, "sample this machine this often; 0 is off")
	f.StringVar(&o.rules, "rules", "", "rules `file` (default: built-in rules)")
	f.StringVar(&o.rulesBucket, "rules-bucket", "", "besides, take rules from this key-value `bucket` and watch it: the key is a name, the value a rule as in a file; what becomes of each is in the bucket of that name with -status behind")
	f.StringVar(&o.notify, "notify", "", "tell receivers of alarms: routes, receivers, inhibition and time intervals from this `file` (see notify.yaml); silences from the key-value bucket silences")
	f.Var(&o.tell, "tell", "how a receiver of -notify is told, as `RECEIVER=ADDRESS`: http://... or https://... of a web hook, env:VARIABLE or file:PATH with such a URL in it, or nats:SUBJECT; once for each receiver")
	f.StringVar(&o.testRules, "test-rules", "", "test the rules with the cases of this `file` (see package alerting/cases), and exit: 0 if all is as expected")
	f.StringVar(&o.schemas, "schemas", "", "`folder` with metric.json and syslog.json to use instead of the built-in schemas")
	f.Var(&o.follow, "follow", "follow this log `file`, as tail -F does; may be given more than once")
	f.StringVar(&o.replayMetrics, "replay-metrics", "", "replay this `file` of metrics (NDJSON or CSV, plain or .gz) instead of sampling")
	f.StringVar(&o.replaySyslog, "replay-syslog", "", "replay this `file` of syslog lines (plain or .gz) instead of receiving")
	f.IntVar(&o.year, "year", time.Now().Year(), "the `year` of replayed lines that do not say theirs (RFC 3164)")
	f.BoolVar(&o.exit, "exit", false, "with a replay: exit when all of it is processed")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stderr, usage)
			f.SetOutput(stderr)
			f.PrintDefaults()
			return o, err
		}
		return o, fmt.Errorf("%w: %w (-help lists the flags)", errUsage, err)
	}
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%w: unexpected argument %q", errUsage, rest[0])
	case o.data != "" && o.nats != "":
		return fmt.Errorf("%w: -data is where the built-in server keeps its data; with -nats there is none, so give only one of them", errUsage)
	case o.nats == "" && (o.creds != "" || o.tlsCA != ""):
		return fmt.Errorf("%w: -creds and -tls-ca are for -nats", errUsage)
	case o.exit && !o.replays():
		return fmt.Errorf("%w: -exit needs -replay-metrics or -replay-syslog", errUsage)
	case o.testRules != "" && (o.data != "" || o.nats != "" || o.replays()):
		return fmt.Errorf("%w: -test-rules brings its own server and input: give no -data, -nats or replay with it", errUsage)
	case o.testRules != "" && o.rulesBucket != "":
		return fmt.Errorf("%w: -test-rules tests a file: give no -rules-bucket with it", errUsage)
	case o.notify != "" && (o.testRules != "" || o.replays()):
		return fmt.Errorf("%w: -notify is for what happens now: nobody is told of tests and replays", errUsage)
	case o.notify == "" && len(o.tell) > 0:
		return fmt.Errorf("%w: -tell is for -notify", errUsage)
	case o.interval < 0:
		return fmt.Errorf("%w: -interval must not be negative, got %v", errUsage, o.interval)
	case o.replays() && len(o.follow) > 0:
		return fmt.Errorf("%w: -follow is for live input, not for a replay", errUsage)
	}
	return nil
}

func (o *options) replays() bool { return o.replayMetrics != "" || o.replaySyslog != "" }
