package processor

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// Headers of a dead letter, beside those that the record came with. Its value is the record's original bytes. Its key is the
// record's; where that is too long for a subject, it is in stream.KeyHeader, escaped, and the letter has none.
const (
	DeadTopic     = "Rossby-Dead-Topic"     // where the record was read
	DeadPartition = "Rossby-Dead-Partition" // likewise
	DeadOffset    = "Rossby-Dead-Offset"    // likewise
	DeadOperator  = "Rossby-Dead-Operator"  // what refused it, with file and line
	DeadError     = "Rossby-Dead-Error"     // why, cut at 1 KiB
	DeadStack     = "Rossby-Dead-Stack"     // where it panicked, if it did, cut at 4 KiB
)

// ErrFailedRecord is what the error of App.Run wraps when the policy is Stop and a record has failed.
var ErrFailedRecord = errors.New("a record failed and the policy is to stop")

const (
	maxErrorHeader = 1 << 10
	maxStackHeader = 4 << 10
)

// failurePolicy returns the engine's side of the policy; sink is the rank of the dead letter topic.
func (t *Topology) failurePolicy(sink int) func(*engine.Task, engine.Failure) error {
	switch t.policy {
	case Skip:
		return func(*engine.Task, engine.Failure) error { return nil }
	case Stop:
		return func(_ *engine.Task, f engine.Failure) error { return stopError(f) }
	default:
		return func(task *engine.Task, f engine.Failure) error { return t.sendDeadLetter(task, sink, f) }
	}
}

func stopError(f engine.Failure) error {
	if f.Record == nil {
		return fmt.Errorf("%w: %s: %w", ErrFailedRecord, f.Operator, f.Err)
	}
	return fmt.Errorf("%w: topic %s, partition %d, offset %d, key %q: %s: %w",
		ErrFailedRecord, f.Record.Topic, f.Record.Partition, f.Record.Offset, f.Record.Key, f.Operator, f.Err)
}

func (t *Topology) sendDeadLetter(task *engine.Task, sink int, f engine.Failure) error {
	letter := engine.Emitted{Sink: sink}
	headers := make(stream.Headers)
	if raw := f.Record; raw != nil {
		if user := userHeaders(raw.Headers).Clone(); user != nil {
			headers = user
		}
		headers.Set(DeadTopic, raw.Topic)
		headers.Set(DeadPartition, strconv.Itoa(raw.Partition))
		headers.Set(DeadOffset, strconv.FormatUint(raw.Offset, 10))
		headers.Set(stream.TimeHeader, raw.Stored.UTC().Format(time.RFC3339Nano))
		letter.Key, letter.Data = raw.Key, raw.Data
	}
	headers.Set(DeadOperator, headerText(f.Operator, maxErrorHeader))
	headers.Set(DeadError, headerText(f.Err.Error(), maxErrorHeader))
	var panicked *PanicError
	if errors.As(f.Err, &panicked) {
		headers.Set(DeadStack, headerText(string(panicked.Stack), maxStackHeader))
	}
	if t.deadLetters.CheckKey(letter.Key) != nil {
		// It came from a topic whose keys are in headers, and so it goes on.
		headers.Set(stream.KeyHeader, stream.EscapeKey(letter.Key))
		letter.Key = ""
	}
	letter.Headers = headers
	letter.Partition = partitionOf(task, letter.Key, t.deadLetters.Partitions)
	if err := task.Emit(&letter); err != nil {
		// The record fits the server's limit without these headers: it was read from it. Rather a letter that says less
		// than none.
		delete(headers, DeadStack)
		headers.Set(DeadError, headerText(f.Err.Error(), 64))
		if err := task.Emit(&letter); err != nil {
			return fmt.Errorf("%w; and it does not fit the dead letter topic: %w", stopError(f), err)
		}
	}
	return nil
}

// headerText makes s fit a header: one line, no longer than limit bytes.
func headerText(s string, limit int) string {
	b := []byte(s[:min(len(s), limit)])
	for i, c := range b {
		if c == '\n' {
			b[i] = '|'
		} else if c < ' ' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}
