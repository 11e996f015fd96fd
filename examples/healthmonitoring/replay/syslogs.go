package replay

import (
	"io"
	"iter"
	"time"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
	"github.com/rossby-streams/rossby/examples/healthmonitoring/syslogd"
)

// Options say what a recording of syslog leaves out.
type Options struct {
	// Year is the year of times in the form of RFC 3164, which have none. 0: such lines are rows with
	// syslogd.ErrNoYear, because what year it is now says nothing about a recording.
	Year int
	// Location is the zone of those times; nil: the zone of this machine.
	Location *time.Location
}

// SyslogRow is one line of a recording of syslog.
type SyslogRow struct {
	// Line is its number in the file, from 1, blank lines counted.
	Line int
	// Raw is the line without its end; the receiver may keep it.
	Raw []byte
	// Syslog is what the line says; zero when Err is set.
	Syslog health.Syslog
	// Err says why there is no value: one of package syslogd's errors, ErrTooLong, or ErrUnreadable in the last row.
	Err error
}

// Syslogs yields the rows of a recording of syslog. Lines that name no host or no time are rows with an error: a recording
// has neither a receiver nor a moment of receipt. The sequence can be used once; it stops reading when the loop is left.
func Syslogs(r io.Reader, opts Options) iter.Seq[SyslogRow] {
	reading := syslogd.Options{Year: opts.Year, Location: opts.Location}
	return func(yield func(SyslogRow) bool) {
		for line := range lines(r) {
			next := SyslogRow{Line: line.number, Raw: line.raw, Err: line.err}
			if next.Err == nil {
				next.Syslog, next.Err = syslogd.ParseLine(line.raw, reading)
			}
			if !yield(next) {
				return
			}
		}
	}
}
