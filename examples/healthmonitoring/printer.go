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

// printer writes every alarm change as a JSON line for programs and as text for people. It reads the topic of alarms as a
// consumer group and commits after each line, so that a restart goes on behind the last one: a line can be printed twice only
// if the process dies between the two, and has the same id then.
type printer struct {
	consumer *stream.Consumer[alerting.Alarm]
	lines    io.Writer
	people   io.Writer
}

func newPrinter(ctx context.Context, c *stream.Client, t topics, lines, people io.Writer) (*printer, error) {
	consumer, err := stream.NewConsumer(ctx, c, t.alarms, stream.ConsumerConfig{Group: app + "-printer", MaxPollRecords: 1})
	if err != nil {
		return nil, fmt.Errorf("read the alarms: %w", err)
	}
	return &printer{consumer: consumer, lines: lines, people: people}, nil
}

// run prints until ctx ends, which is no error.
func (p *printer) run(ctx context.Context) error {
	for {
		err := p.next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// rest prints what there is still and returns.
func (p *printer) rest(ctx context.Context) error {
	for {
		done, err := p.consumer.CaughtUp(ctx)
		if err != nil || done {
			return err
		}
		if err := p.next(ctx); err != nil {
			return err
		}
	}
}

// next waits for alarms and prints them.
func (p *printer) next(ctx context.Context) error {
	records, err := p.consumer.Poll(ctx)
	if err != nil {
		return fmt.Errorf("read the alarms: %w", err)
	}
	for _, r := range records {
		if err := p.print(r); err != nil {
			return err
		}
	}
	// What is printed is committed even if we are being asked to stop.
	if err := p.consumer.Commit(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("commit the position in the alarms: %w", err)
	}
	return nil
}

func (p *printer) print(r stream.Record[alerting.Alarm]) error {
	if r.Err != nil {
		return fmt.Errorf("topic %s, partition %d, offset %d: %w", r.Topic, r.Partition, r.Offset, r.Err)
	}
	line, err := newAlarmLine(fmt.Sprintf("%s-%d-%d", r.Topic, r.Partition, r.Offset), r.Key, r.Value)
	if err != nil {
		return fmt.Errorf("topic %s, partition %d, offset %d: the alarm's context: %w", r.Topic, r.Partition, r.Offset, err)
	}
	var buffer bytes.Buffer // one write per line: nobody sees half of one
	if err := json.NewEncoder(&buffer).Encode(line); err != nil {
		return fmt.Errorf("encode an alarm: %w", err)
	}
	if _, err := p.lines.Write(buffer.Bytes()); err != nil {
		return fmt.Errorf("print an alarm: %w", err)
	}
	if _, err := io.WriteString(p.people, line.text()); err != nil {
		return fmt.Errorf("print an alarm: %w", err)
	}
	return nil
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
