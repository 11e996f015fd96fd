package syslogd

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
)

// defaultPriority is what RFC 3164 gives a message without one: user.notice.
const defaultPriority = 13

// Bounds of the fields of the BSD form: beyond them a word is text and not a field.
const (
	maxHost = 255
	maxTag  = 128
)

// Options say what to take for that which a message leaves out.
type Options struct {
	// Host stands in for a missing host. Empty: such a message is an error, ErrNoHost.
	Host string
	// Year is the year of times that have none. 0: the latest that puts them at most a week after Now.
	Year int
	// Location is the time zone of times that have none; nil: the zone of this machine.
	Location *time.Location
	// Now is the moment of receipt, for messages without a time and to find the year. Zero: unknown; such messages are
	// errors, ErrNoTime and ErrNoYear, and the result depends on nothing but the line.
	Now time.Time
}

// ParseLine reads one message in any of the forms that the package comment lists, without its frame; newlines and NULs at
// its end are dropped. The time of the result is in UTC; its texts are valid UTF-8, with U+FFFD for what was not. Its
// error has ErrMalformed, ErrNoTime, ErrNoYear or ErrNoHost in its chain. It keeps nothing of raw and is safe for
// concurrent use.
func ParseLine(raw []byte, opts Options) (health.Syslog, error) {
	line := bytes.TrimRight(raw, "\r\n\x00")
	priority, rest, err := cutPriority(line)
	if err != nil {
		return health.Syslog{}, err
	}
	var out health.Syslog
	if priority >= 0 && isVersion(rest) {
		out, err = parse5424(line)
	} else {
		out, err = parseBSD(rest, priority >= 0, opts)
	}
	if err != nil {
		return health.Syslog{}, err
	}
	if priority < 0 {
		priority = defaultPriority
	}
	out.Severity, out.Facility = health.SeverityName(priority%8), facilityName(priority/8)
	if out.Time.IsZero() {
		if opts.Now.IsZero() {
			return health.Syslog{}, ErrNoTime
		}
		out.Time = opts.Now
	}
	// UTC and no monotonic reading: equal moments are equal values, and no zone of the year 1754 with odd seconds is left
	// for JSON to round.
	out.Time = out.Time.Round(0).UTC()
	if year := out.Time.Year(); year < 1 || year > 9999 {
		return health.Syslog{}, fmt.Errorf("%w: the year %d does not fit into four digits", ErrMalformed, year)
	}
	if out.Host == "" {
		if out.Host = opts.Host; out.Host == "" {
			return health.Syslog{}, ErrNoHost
		}
	}
	return out, nil
}

// cutPriority splits off "<N>". priority is -1 where there is none.
func cutPriority(line []byte) (priority int, rest []byte, err error) {
	if len(line) == 0 || line[0] != '<' {
		return -1, line, nil
	}
	end := bytes.IndexByte(line[:min(len(line), 5)], '>')
	if end < 2 || line[1] == '0' && end > 2 {
		return 0, nil, fmt.Errorf("%w: it begins with '<' but not with a priority <0> to <191>", ErrMalformed)
	}
	for _, c := range line[1:end] {
		if !isDigit(c) {
			return 0, nil, fmt.Errorf("%w: the priority %q is no number", ErrMalformed, line[1:end])
		}
		priority = priority*10 + int(c-'0')
	}
	if priority > 191 {
		return 0, nil, fmt.Errorf("%w: the priority %d is above 191", ErrMalformed, priority)
	}
	return priority, line[end+1:], nil
}

// isVersion tells RFC 5424 from the BSD form: a version number follows the priority.
func isVersion(rest []byte) bool {
	n := 0
	for n < len(rest) && n < 3 && isDigit(rest[n]) {
		n++
	}
	return n > 0 && rest[0] != '0' && n < len(rest) && rest[n] == ' '
}

// machines holds parsers, which are costly to make and not safe for concurrent use.
var machines = sync.Pool{New: func() any { return rfc5424.NewMachine() }}

// parse5424 parses a whole line, its priority included.
func parse5424(line []byte) (health.Syslog, error) {
	machine := machines.Get().(syslog.Machine)
	defer machines.Put(machine)
	parsed, err := machine.Parse(line)
	if err != nil {
		return health.Syslog{}, fmt.Errorf("%w of RFC 5424: %w", ErrMalformed, err)
	}
	message, ok := parsed.(*rfc5424.SyslogMessage)
	if !ok || message == nil {
		// The machine has ends that are neither a message nor an error.
		return health.Syslog{}, fmt.Errorf("%w of RFC 5424", ErrMalformed)
	}
	out := health.Syslog{
		Host:    text(message.Hostname),
		App:     text(message.Appname),
		ProcID:  text(message.ProcID),
		MsgID:   text(message.MsgID),
		Message: strings.TrimPrefix(text(message.Message), "\ufeff"),
	}
	if message.Timestamp != nil {
		out.Time = *message.Timestamp
	}
	return out, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return valid(*s)
}

func valid(s string) string { return strings.ToValidUTF8(s, string(utf8.RuneError)) }

// parseBSD parses what follows the priority: [time] [host] [tag:] text.
func parseBSD(rest []byte, hasPriority bool, opts Options) (health.Syslog, error) {
	var out health.Syslog
	rest = bytes.TrimLeft(rest, " ")
	when, after, err := cutTime(rest, opts)
	if err != nil {
		return out, err
	}
	out.Time = when
	if when.IsZero() {
		if !hasPriority {
			return out, fmt.Errorf("%w: it begins with neither a priority nor a time", ErrMalformed)
		}
		// RFC 3164, 4.3.2: what has a priority and nothing else that is known is all text.
		out.App, out.ProcID, out.Message = cutTag(rest)
		if out.App == "" && out.Message == "" {
			return out, fmt.Errorf("%w: nothing follows the priority", ErrMalformed)
		}
		return out, nil
	}
	after = bytes.TrimLeft(after, " ")
	if len(after) == 0 {
		return out, fmt.Errorf("%w: nothing follows the time", ErrMalformed)
	}
	out.Host, after = cutHost(after)
	out.App, out.ProcID, out.Message = cutTag(after)
	return out, nil
}

// cutHost splits off the host. Some systems leave it out: then a tag comes first, or a word that is no name.
func cutHost(s []byte) (host string, rest []byte) {
	word, after, found := bytes.Cut(s, []byte(" "))
	if !found || len(word) > maxHost {
		return "", s
	}
	for _, c := range word {
		if c <= ' ' || c > '~' {
			return "", s
		}
	}
	if word[len(word)-1] == ':' {
		if _, err := netip.ParseAddr(string(word)); err != nil {
			return "", s
		}
	}
	if string(word) == "-" {
		return "", bytes.TrimLeft(after, " ")
	}
	return string(word), bytes.TrimLeft(after, " ")
}

// cutTag splits "app: text" and "app[procid]: text"; anything else is all text.
func cutTag(s []byte) (app, procID, message string) {
	n := 0
	for n < len(s) && n <= maxTag && s[n] > ' ' && s[n] <= '~' && s[n] != ':' && s[n] != '[' {
		n++
	}
	rest := s[n:]
	if n == 0 || n > maxTag || len(rest) == 0 {
		return "", "", valid(string(s))
	}
	tag := string(s[:n])
	if rest[0] == '[' {
		end := bytes.IndexByte(rest[:min(len(rest), maxTag)], ']')
		if end < 0 || end+1 == len(rest) || rest[end+1] != ':' {
			return "", "", valid(string(s))
		}
		procID, rest = valid(string(rest[1:end])), rest[end+2:]
		return tag, procID, valid(string(bytes.TrimPrefix(rest, []byte(" "))))
	}
	// A colon within a word, as in "http://", ends no tag.
	if rest[0] != ':' || len(rest) > 1 && rest[1] != ' ' {
		return "", "", valid(string(s))
	}
	return tag, "", valid(string(bytes.TrimPrefix(rest[1:], []byte(" "))))
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// facilityName returns the keyword of a facility code, 0 to 23.
func facilityName(code int) string {
	names := [...]string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
		"ntp", "security", "console", "cron2", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}
	if code < 0 || code >= len(names) {
		return ""
	}
	return names[code]
}
