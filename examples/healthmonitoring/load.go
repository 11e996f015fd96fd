package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
	"github.com/rossby-streams/rossby/examples/healthmonitoring/replay"
	"github.com/rossby-streams/rossby/stream"
)

// loader publishes recorded input. Every record says which line of which file it is, so that after a crash each
// partition goes on behind the last line that it holds: no line is lost and none comes twice, however often it is killed.
type loader struct {
	client *stream.Client
	in     *intake
	topics topics
}

// row is one line of a recorded file, of whatever kind.
type row struct {
	line    int
	raw     []byte
	err     error
	key     string
	check   func() error // what publish would refuse it for
	publish func(context.Context, stream.Headers) error
}

// load publishes the rows of a file, but those that are there already; it returns how many rows the file has.
func (l *loader) load(ctx context.Context, source, path string, to stream.TopicSpec, rows iter.Seq[row]) (int, error) {
	file := filepath.Base(path)
	progress, err := l.progress(ctx, file, to)
	if err != nil {
		return 0, err
	}
	count := 0
	for r := range rows {
		if ctx.Err() != nil {
			return count, ctx.Err()
		}
		count++
		if err := l.publish(ctx, r, file, source, progress); err != nil {
			return count, fmt.Errorf("replay %s, line %d: %w", path, r.line, err)
		}
	}
	return count, nil
}

// progress is how far a former run has come with a file.
type progress struct {
	published []int // per partition: the last line that the topic holds
	refused   int   // the last line that the dead letter topic holds
}

func (l *loader) progress(ctx context.Context, file string, to stream.TopicSpec) (p progress, err error) {
	if p.published, err = l.published(ctx, file, to); err != nil {
		return p, err
	}
	p.refused, err = l.refused(ctx, file)
	return p, err
}

// publish makes a record or a dead letter of a row, unless a former run has done so.
func (l *loader) publish(ctx context.Context, r row, file, source string, done progress) error {
	headers := stream.Headers{headerLine: {file + ":" + strconv.Itoa(r.line)}}
	why := r.err
	switch {
	case errors.Is(why, replay.ErrUnreadable):
		return why // the file itself, not a line of it
	case why != nil:
	case r.line <= done.published[stream.Partition(r.key, len(done.published))]:
		if why = r.check(); why == nil {
			return nil // it is there
		}
	default:
		if why = r.publish(ctx, headers); !isRefusal(ctx, why) {
			return why
		}
	}
	if r.line <= done.refused {
		return nil
	}
	return l.in.refuse(ctx, source, r.raw, why, headers)
}

// published returns, per partition, the last line of file that a topic holds.
func (l *loader) published(ctx context.Context, file string, spec stream.TopicSpec) ([]int, error) {
	offsets, err := l.client.Offsets(ctx, spec)
	if err != nil {
		return nil, err
	}
	lines := make([]int, len(offsets))
	for p, o := range offsets {
		if o.Records == 0 {
			continue
		}
		err := l.scan(ctx, spec, p, o.Next-1, func(m stream.Message) { lines[p] = max(lines[p], lineOf(m.Headers, file)) })
		if err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// refused returns the last line of file that was sent to the dead letter topic.
func (l *loader) refused(ctx context.Context, file string) (int, error) {
	last := 0
	spec := l.topics.dead.Spec()
	for p := range spec.Partitions {
		err := l.scan(ctx, spec, p, 1, func(m stream.Message) { last = max(last, lineOf(m.Headers, file)) })
		if err != nil {
			return 0, err
		}
	}
	return last, nil
}

func (l *loader) scan(ctx context.Context, spec stream.TopicSpec, p int, from uint64, see func(stream.Message)) error {
	return scan(ctx, l.client, spec, p, from, see)
}

// lineOf returns the line of file that a record was made of, 0 if it was not.
func lineOf(h stream.Headers, file string) int {
	line, ok := strings.CutPrefix(h.Get(headerLine), file+":")
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(line)
	if err != nil {
		return 0
	}
	return n
}

// scan calls see with what a partition holds from an offset on, up to its end at the time of the call.
func scan(ctx context.Context, c *stream.Client, spec stream.TopicSpec, p int, from uint64, see func(stream.Message)) error {
	failed := make(chan error, 1)
	reader, err := c.OpenReader(ctx, spec, p, stream.ReaderConfig{
		From: from, Deliver: see, Failed: func(err error) { failed <- err },
	})
	if err != nil {
		return err
	}
	defer reader.Close()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := reader.CaughtUp(ctx)
		if err != nil || done {
			return err
		}
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// metricRows are the rows of a metrics file, ready to be published.
func (l *loader) metricRows(path string) (iter.Seq[row], func() error, error) {
	file, err := replay.Open(path)
	if err != nil {
		return nil, nil, err
	}
	rows := func(yield func(row) bool) {
		for r := range replay.Metrics(file) {
			ok := yield(row{
				line: r.Line, raw: r.Raw, err: r.Err, key: health.HostKey(r.Metric.Host),
				check:   func() error { _, err := l.topics.metrics.Codec.Encode(r.Metric); return err },
				publish: func(ctx context.Context, h stream.Headers) error { return l.in.metric(ctx, r.Metric, h) },
			})
			if !ok {
				return
			}
		}
	}
	return rows, file.Close, nil
}

// syslogRows are the rows of a file of log lines, ready to be published.
func (l *loader) syslogRows(path string, year int) (iter.Seq[row], func() error, error) {
	file, err := replay.Open(path)
	if err != nil {
		return nil, nil, err
	}
	rows := func(yield func(row) bool) {
		for r := range replay.Syslogs(file, replay.Options{Year: year}) {
			ok := yield(row{
				line: r.Line, raw: r.Raw, err: r.Err, key: health.HostKey(r.Syslog.Host),
				check:   func() error { _, err := l.topics.syslogs.Codec.Encode(r.Syslog); return err },
				publish: func(ctx context.Context, h stream.Headers) error { return l.in.line(ctx, r.Syslog, h) },
			})
			if !ok {
				return
			}
		}
	}
	return rows, file.Close, nil
}
