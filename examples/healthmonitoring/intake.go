package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
	"github.com/rossby-streams/rossby/stream"
)

// The headers of what never became a record: it goes to the dead letter topic from here.
const (
	headerSource = "Health-Source" // "metrics" or "syslogs"
	headerLine   = "Health-Line"   // "<file>:<line>" of a replay
	headerError  = "Health-Error"  // why it was refused
	headerCut    = "Health-Cut"    // the length that it had, if it was too long to be kept whole
)

// maxRefused is how much is kept of what was refused, in bytes: well below what any server takes as a message.
const maxRefused = 256 << 10

// The two sources, as headers and the closing summary name them.
const (
	sourceMetrics = "metrics"
	sourceSyslogs = "syslogs"
)

// maxAhead is how far in the future a live record may say it is. A host with a broken clock would otherwise close the windows
// of all others.
const maxAhead = 5 * time.Minute

// intake publishes what comes in from outside. Nothing that comes in is lost: it becomes a record, or a dead letter.
type intake struct {
	metrics *stream.Producer[health.Metric]
	syslogs *stream.Producer[health.Syslog]
	dead    *stream.Producer[[]byte]
}

func newIntake(c *stream.Client, t topics) (*intake, error) {
	metrics, err := stream.NewProducer(c, t.metrics, stream.ProducerConfig{})
	if err != nil {
		return nil, err
	}
	syslogs, err := stream.NewProducer(c, t.syslogs, stream.ProducerConfig{})
	if err != nil {
		return nil, err
	}
	dead, err := stream.NewProducer(c, t.dead, stream.ProducerConfig{})
	if err != nil {
		return nil, err
	}
	return &intake{metrics: metrics, syslogs: syslogs, dead: dead}, nil
}

// metric publishes a sample under its host.
func (in *intake) metric(ctx context.Context, m health.Metric, h stream.Headers) error {
	return in.metrics.Send(ctx, stream.ProducerRecord[health.Metric]{Key: health.HostKey(m.Host), Value: m, Headers: h})
}

// line publishes a log line under its host.
func (in *intake) line(ctx context.Context, l health.Syslog, h stream.Headers) error {
	return in.syslogs.Send(ctx, stream.ProducerRecord[health.Syslog]{Key: health.HostKey(l.Host), Value: l, Headers: h})
}

// refuse sends what cannot become a record to the dead letter topic, as it came.
func (in *intake) refuse(ctx context.Context, source string, raw []byte, why error, h stream.Headers) error {
	headers := h.Clone()
	headers.Set(headerSource, source)
	headers.Set(headerError, oneLine(why))
	if len(raw) > maxRefused {
		headers.Set(headerCut, strconv.Itoa(len(raw)))
		raw = raw[:maxRefused]
	}
	if err := in.dead.Send(ctx, stream.ProducerRecord[[]byte]{Key: source, Value: raw, Headers: headers}); err != nil {
		return fmt.Errorf("send to the dead letter topic: %w", err)
	}
	return nil
}

// liveMetric publishes a sample of now; one that is refused becomes a dead letter.
func (in *intake) liveMetric(ctx context.Context, m health.Metric) error {
	err := in.metric(ctx, m, nil)
	if isRefusal(ctx, err) {
		return in.refuse(ctx, sourceMetrics, fmt.Appendf(nil, "%+v", m), err, nil)
	}
	return err
}

// liveLine publishes a line that has just come in; one that is refused becomes a dead letter.
func (in *intake) liveLine(ctx context.Context, l health.Syslog) error {
	err := error(nil)
	if ahead := time.Until(l.Time); ahead > maxAhead {
		err = fmt.Errorf("%w: its time %s is %s ahead of this machine's clock", errRefused, l.Time.UTC().Format(time.RFC3339), ahead.Round(time.Second))
	} else {
		err = in.line(ctx, l, nil)
	}
	if isRefusal(ctx, err) {
		return in.refuse(ctx, sourceSyslogs, fmt.Appendf(nil, "%+v", l), err, nil)
	}
	return err
}

// errRefused marks what is wrong with a record, as opposed to what is wrong with the way to the server.
var errRefused = errors.New("refused")

// isRefusal tells a record that can never be published from a server that cannot be reached.
func isRefusal(ctx context.Context, err error) bool {
	var large *stream.TooLargeError
	var encode *stream.EncodeError
	return err != nil && ctx.Err() == nil && (errors.Is(err, errRefused) || errors.As(err, &encode) || errors.As(err, &large))
}

func (in *intake) flush(ctx context.Context) error {
	return errors.Join(in.metrics.Flush(ctx), in.syslogs.Flush(ctx), in.dead.Flush(ctx))
}

func (in *intake) close(ctx context.Context) error {
	return errors.Join(in.metrics.Close(ctx), in.syslogs.Close(ctx), in.dead.Close(ctx))
}

// oneLine makes an error fit a header.
func oneLine(err error) string {
	b := []byte(err.Error())
	b = b[:min(len(b), 1024)]
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}
