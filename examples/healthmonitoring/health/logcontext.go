package health

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds in bytes of JSON, so that hostile text cannot make an alarm outgrow the message that carries it (1 MB by default).
const (
	maxMessageBytes  = 2000      // of one line
	maxMessagesBytes = 400 << 10 // of all lines shown together
	maxAppBytes      = 128
)

// Line is one log line as an alarm shows it.
type Line struct {
	// Time is when the line was written.
	Time time.Time `json:"time"`
	// Severity is the severity of the line, UnknownSeverity when it is none of syslog's eight.
	Severity string `json:"severity"`
	// App is the program that wrote it; empty when unknown.
	App string `json:"app"`
	// Message is its text, cut to about 2000 bytes, or less when more than 200 lines are shown; a cut message ends with
	// "...".
	Message string `json:"message"`
}

// LogContext is the bounded summary of the log lines around a breach.
type LogContext struct {
	// Total counts every line of the window, also those that are not shown.
	Total int `json:"total"`
	// BySeverity counts the same lines by severity; it is never nil and holds no zero counts.
	BySeverity map[string]int `json:"by_severity"`
	// First and Last are the first and the last line of the window, shown or not; nil when there is none or none is to be shown.
	First *Line `json:"first,omitempty"`
	Last  *Line `json:"last,omitempty"`
	// Lines are the lines shown, in time order; it is never nil.
	Lines []Line `json:"lines"`
}

// Summarise counts the lines with |time - around| <= within and shows at most maxLines of them. The most severe lines are
// shown first of all; among lines of one severity those nearest to around, and of two equally near the earlier one. What
// is shown stands in the order of lines, which must be in time order.
//
// A negative within or maxLines counts as zero: with within 0 only lines of that very instant count, with maxLines 0 lines
// are counted and none is shown. The cost is linear in the number of lines and allocates only what is shown.
func Summarise(lines []Syslog, around time.Time, within time.Duration, maxLines int) LogContext {
	within = max(within, 0)
	from, to := around.Add(-within), around.Add(within)
	// Comparing with the ends and not the distance: the distance of far dates overflows a Duration.
	outside := func(t time.Time) bool { return t.Before(from) || t.After(to) }

	var counts [rankCount]int
	for i := range lines {
		if !outside(lines[i].Time) {
			counts[severityRank(lines[i].Severity)]++
		}
	}
	out := LogContext{BySeverity: map[string]int{}, Lines: []Line{}}
	shown, cutRank, cutKeep := 0, rankCount, 0
	for rank, n := range counts {
		if n == 0 {
			continue
		}
		out.Total += n
		out.BySeverity[SeverityName(rank)] = n
		if cutRank < rankCount {
			continue
		}
		keep := min(n, max(maxLines, 0)-shown)
		shown += keep
		if keep < n {
			cutRank, cutKeep = rank, keep
		}
	}
	if shown == 0 {
		return out
	}

	first, last := 0, len(lines)-1
	inCut := func(i int) bool { return !outside(lines[i].Time) && severityRank(lines[i].Severity) == cutRank }
	if cutRank < rankCount && cutKeep > 0 {
		// In time order the nearest lines of one severity are a run: drop the farther end until it is short enough.
		for left := counts[cutRank]; ; left-- {
			for !inCut(first) {
				first++
			}
			for !inCut(last) {
				last--
			}
			if left == cutKeep {
				break
			}
			if around.Sub(lines[first].Time).Abs() > around.Sub(lines[last].Time).Abs() {
				first++
			} else {
				last--
			}
		}
	}

	limit := min(maxMessageBytes, maxMessagesBytes/shown)
	out.Lines = make([]Line, 0, shown)
	for i := range lines {
		line := &lines[i]
		if outside(line.Time) {
			continue
		}
		rank := severityRank(line.Severity)
		if rank > cutRank || rank == cutRank && (cutKeep == 0 || i < first || i > last) {
			continue
		}
		out.Lines = append(out.Lines, show(line, limit))
	}
	out.First, out.Last = ends(lines, outside, limit)
	return out
}

// show is a line within bounds.
func show(line *Syslog, limit int) Line {
	return Line{
		Time: line.Time, Severity: SeverityName(severityRank(line.Severity)), App: cut(line.App, maxAppBytes), Message: cut(line.Message, limit),
	}
}

// ends are the first and the last line that is not outside; there are some.
func ends(lines []Syslog, outside func(time.Time) bool, limit int) (first, last *Line) {
	from, to := 0, len(lines)-1
	for outside(lines[from].Time) {
		from++
	}
	for outside(lines[to].Time) {
		to--
	}
	return new(show(&lines[from], limit)), new(show(&lines[to], limit))
}

// cut makes s valid UTF-8 and shortens it on a rune boundary so that its JSON form stays within limit bytes, "..." included.
func cut(s string, limit int) string {
	const dots = "..."
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	size, keep := 0, -1
	for i, r := range s {
		width := utf8.RuneLen(r)
		switch {
		case r < ' ', r == '<', r == '>', r == '&', r == '\u2028', r == '\u2029':
			width = 6 // \u00XX, which some encoders use for all of these
		case r == '"', r == '\\':
			width = 2
		}
		if size+width > limit-len(dots) && keep < 0 {
			keep = i
		}
		if size += width; size > limit {
			// A copy: a sub-string would keep the whole long message in memory.
			return strings.Clone(s[:keep]) + dots
		}
	}
	return s
}
