package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/stream"
)

// printer writes every alarm change as a JSON line for programs and as text for people. After each line it notes its position in
// a journal, which is on disk when the note is acknowledged, so that a restart goes on behind the last line. (A consumer group
// would do, but a server that is killed forgets the last acknowledgements.) A line can be printed twice only if the process dies
// between the two, and has the same id then.
type printer struct {
	topics  topics
	journal *stream.Journal
	next    []uint64 // per partition: the offset to print next
	notes   int      // since the journal was trimmed
	arrived chan stream.Message
	failed  chan error
	readers []*stream.Reader
	closing chan struct{}
	lines   io.Writer
	people  io.Writer
}

// trimNotes is after how many lines the journal of positions is trimmed.
const trimNotes = 1000

func newPrinter(ctx context.Context, c *stream.Client, t topics, lines, people io.Writer) (p *printer, err error) {
	p = &printer{
		topics: t, next: make([]uint64, t.alarms.Spec().Partitions), lines: lines, people: people,
		arrived: make(chan stream.Message), failed: make(chan error), closing: make(chan struct{}),
	}
	if p.journal, err = c.OpenJournal(ctx, app+"-printer-journal"); err != nil {
		return nil, fmt.Errorf("the positions in the alarms: %w", err)
	}
	err = p.journal.Replay(ctx, func(e stream.Entry) error { return json.Unmarshal(e.Data, &p.next) })
	if err != nil {
		return nil, fmt.Errorf("the positions in the alarms: %w", err)
	}
	for i := range p.next {
		r, err := c.OpenReader(ctx, t.alarms.Spec(), i, stream.ReaderConfig{From: p.next[i], Deliver: p.deliver, Failed: p.fail})
		if err != nil {
			p.close()
			return nil, fmt.Errorf("read the alarms: %w", err)
		}
		p.readers = append(p.readers, r)
	}
	return p, nil
}

func (p *printer) deliver(m stream.Message) {
	select {
	case p.arrived <- m:
	case <-p.closing:
	}
}

func (p *printer) fail(err error) {
	select {
	case p.failed <- err:
	case <-p.closing:
	}
}

func (p *printer) close() {
	close(p.closing)
	for _, r := range p.readers {
		r.Close()
	}
}

// run prints until ctx ends, which is no error.
func (p *printer) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-p.failed:
			return fmt.Errorf("read the alarms: %w", err)
		case m := <-p.arrived:
			// A line and its note belong together, even if we are being asked to stop.
			if err := p.print(context.WithoutCancel(ctx), m); err != nil {
				return err
			}
		}
	}
}

// rest prints what there is still and returns.
func (p *printer) rest(ctx context.Context) error {
	for {
		done, err := p.caughtUp(ctx)
		if err != nil || done {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
		err = p.run(ctx)
		cancel()
		if err != nil {
			return err
		}
	}
}

func (p *printer) caughtUp(ctx context.Context) (bool, error) {
	for _, r := range p.readers {
		if done, err := r.CaughtUp(ctx); err != nil || !done {
			return false, err
		}
	}
	return true, nil
}

// print prints one alarm and notes that it has.
func (p *printer) print(ctx context.Context, m stream.Message) error {
	at := fmt.Sprintf("%s-%d-%d", p.topics.alarms.Name, m.Partition, m.Offset)
	alarm, err := stream.JSON[alerting.Alarm]().Decode(m.Data)
	if err != nil {
		return fmt.Errorf("alarm %s: %w", at, err)
	}
	line, err := newAlarmLine(at, m.Key, alarm)
	if err != nil {
		return fmt.Errorf("alarm %s: its context: %w", at, err)
	}
	var buffer bytes.Buffer // one write per line: nobody sees half of one
	if err := json.NewEncoder(&buffer).Encode(line); err != nil {
		return fmt.Errorf("alarm %s: %w", at, err)
	}
	if _, err := io.WriteString(p.people, line.text()); err != nil {
		return fmt.Errorf("print an alarm: %w", err)
	}
	if _, err := p.lines.Write(buffer.Bytes()); err != nil {
		return fmt.Errorf("print an alarm: %w", err)
	}
	p.next[m.Partition] = m.Offset + 1
	return p.note(ctx)
}

// note makes the positions durable.
func (p *printer) note(ctx context.Context) error {
	data, err := json.Marshal(p.next)
	if err != nil {
		return err
	}
	entry, err := p.journal.Append(ctx, data)
	if err != nil {
		return fmt.Errorf("note the position in the alarms: %w", err)
	}
	if p.notes++; p.notes < trimNotes {
		return nil
	}
	p.notes = 0
	return p.journal.Trim(ctx, entry.Seq)
}

// text is the alarm as a person would like to read it.
func (l alarmLine) text() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%-8s %s on %s (%s): value %.4g, threshold %.4g, since %s, at %s, %d log lines\n",
		strings.ToUpper(l.State), l.Rule, l.Host, l.Severity, l.Value, l.Threshold,
		l.Since.Format(time.RFC3339), l.At.Format(time.RFC3339), l.Context.Total)
	for _, c := range l.Context.Lines {
		fmt.Fprintf(&s, "         %s %-7s %s: %s\n", c.Time.UTC().Format("15:04:05"), c.Severity, c.App, strings.Map(printable, c.Message))
	}
	if more := l.Context.Total - len(l.Context.Lines); more > 0 {
		fmt.Fprintf(&s, "         ... and %d more\n", more)
	}
	return s.String()
}

// printable keeps what others have logged from steering the terminal.
func printable(r rune) rune {
	if r == '\t' || r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f) {
		return r
	}
	return ' '
}
