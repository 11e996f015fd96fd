package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// patience is how long a step may take on a real server before the case fails: a hang ends, and a loaded machine is slow.
const patience = time.Minute

// served is a world with a server: an app runs the topology.
type served struct {
	client   *stream.Client
	topology *processor.Topology
	stateDir string
	fence    stream.TopicSpec
	path     []stream.TopicSpec // the fences that must have passed after a record
	fences   int
	out      chan stream.Message
	reader   *stream.Reader
	closed   chan struct{}
	stop     context.CancelFunc // of the app
	ended    chan error         // what the app's Run has returned
	got      []message
}

// newServed creates the topics of a case and starts its app.
func newServed(client *stream.Client, topology *processor.Topology, t *Topology, stateDir string) (*served, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out := memoryTopic[entry](t.out()).Spec()
	for _, spec := range t.specs {
		if err := client.CreateTopic(ctx, spec); err != nil {
			return nil, err
		}
	}
	if err := client.CreateTopic(ctx, out); err != nil {
		return nil, err
	}
	w := &served{
		client: client, topology: topology, stateDir: stateDir, fence: t.specs[fenceTopicKey], out: make(chan stream.Message), closed: make(chan struct{}),
	}
	w.path = []stream.TopicSpec{w.fence}
	if remote, ok := t.specs[remoteFenceKey]; ok {
		// The second fence of a pair is committed when the first one's commit has been delivered, to repartition topics too.
		w.path = []stream.TopicSpec{w.fence, w.fence, remote, remote, w.fence, w.fence}
	}
	reader, err := client.OpenReader(ctx, out, partition, stream.ReaderConfig{Deliver: w.deliver})
	if err != nil {
		return nil, err
	}
	w.reader = reader
	w.start()
	return w, nil
}

func (w *served) deliver(m stream.Message) {
	select {
	case w.out <- m:
	case <-w.closed:
	}
}

func (w *served) start() {
	ctx, cancel := context.WithCancel(context.Background())
	app := processor.NewApp(w.client, w.topology, processor.Config{StateDir: w.stateDir})
	w.stop, w.ended = cancel, make(chan error, 1)
	go func() { w.ended <- app.Run(ctx) }()
}

// send stores the record, and then a fence. The fence has the record's time, so that it neither overtakes the record (its
// topic comes last in a tie) nor moves stream time any further; the record's results are in the topic once the fence is.
func (w *served) send(r record) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := w.client.Publish(ctx, []stream.Outgoing{{Topic: r.topic, Partition: partition, Key: r.key, Data: r.data, Headers: headersOf(&r)}})
	if err != nil {
		return err
	}
	if r.at.Before(time.UnixMilli(0)) || len(r.data) == 0 && !r.table {
		r.at = time.UnixMilli(0) // refused before its time counts
	}
	if r.global {
		return w.taken(ctx, r)
	}
	for _, fence := range w.path {
		if _, err := w.pass(ctx, fence, r.at); err != nil {
			return err
		}
	}
	return nil
}

// taken returns when a global table has taken the record: when the fence sees the row that was written after it.
func (w *served) taken(ctx context.Context, r record) error {
	id, data, err := w.nextFence()
	if err != nil {
		return err
	}
	if err := w.client.Publish(ctx, []stream.Outgoing{{Topic: r.topic, Partition: partition, Key: globalFence, Data: data}}); err != nil {
		return err
	}
	for {
		seen, err := w.pass(ctx, w.fence, time.UnixMilli(0)) // a global table's time is nobody's
		if err != nil || slices.Contains(seen, id) {
			return err
		}
	}
}

func (w *served) nextFence() (id string, data []byte, err error) {
	w.fences++
	id = strconv.Itoa(w.fences)
	data, err = json.Marshal(id)
	if err != nil {
		return id, nil, fmt.Errorf("encode a fence: %w", err)
	}
	return id, data, nil
}

// pass sends a fence and returns when it has come out, and what it has seen.
func (w *served) pass(ctx context.Context, through stream.TopicSpec, at time.Time) (seen []string, err error) {
	id, data, err := w.nextFence()
	if err != nil {
		return nil, err
	}
	fence := record{topic: through, key: id, data: data, at: at}
	err = w.client.Publish(ctx, []stream.Outgoing{{Topic: fence.topic, Partition: partition, Key: id, Data: data, Headers: headersOf(&fence)}})
	if err != nil {
		return nil, err
	}
	for {
		select {
		case m := <-w.out:
			got := message{key: m.Key, data: m.Data, headers: m.Headers}
			p, err := got.parse()
			if err != nil {
				return nil, err
			}
			if p.kind == fenceEntry && p.fence == id {
				return p.seen, nil
			}
			w.got = append(w.got, got)
		case err := <-w.ended:
			w.ended <- err
			return nil, fmt.Errorf("the app has ended: %w", err)
		case <-ctx.Done():
			return nil, errors.New("the app has not got to the record within a minute")
		}
	}
}

func (w *served) restart() error {
	w.stop()
	if err := <-w.ended; err != nil {
		return fmt.Errorf("stop the app: %w", err)
	}
	w.start()
	return nil
}

// setClock does nothing: the server's clock is the machine's, and no result may depend on it.
func (w *served) setClock(time.Time) {}

func (w *served) news() ([]message, error) {
	got := w.got
	w.got = nil
	return got, nil
}

func (w *served) close() error {
	w.stop()
	err := <-w.ended
	close(w.closed)
	w.reader.Close()
	return err
}
