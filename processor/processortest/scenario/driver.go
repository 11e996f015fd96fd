package scenario

import (
	"testing"
	"time"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// driven is a world without a server: a driver runs the topology.
type driven struct {
	d   *processortest.Driver
	out stream.Topic[[]byte]
}

func newDriven(tb testing.TB, topology *processor.Topology, out string) *driven {
	tb.Helper()
	topic := memoryTopic[[]byte](out)
	topic.Codec = stream.Bytes()
	return &driven{d: processortest.New(tb, topology), out: topic}
}

func (w *driven) send(r record) error {
	w.d.PipeBytes(r.topic, r.key, r.data, headersOf(&r))
	return w.d.Err()
}

func (w *driven) restart() error {
	w.d.Crash()
	return w.d.Err()
}

func (w *driven) setClock(now time.Time) { w.d.SetClock(now) }

func (w *driven) news() ([]message, error) {
	var all []message
	for _, r := range processortest.Read(w.d, w.out) {
		all = append(all, message{key: r.Key, data: r.Value, headers: r.Headers})
	}
	return all, nil
}

func (w *driven) close() error { return nil }
