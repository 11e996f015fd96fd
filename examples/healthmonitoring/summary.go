package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// counts are the rows of the files that were replayed.
type counts struct{ metrics, syslogs int }

// summary is the closing line. What comes in on the left must come out on the right: metrics + syslogs = processed + late +
// dead. The left is counted where it is read, the right is counted in the topics and in the committed offsets, so a record
// that got lost on the way would show.
type summary struct {
	Metrics   int `json:"metrics"`
	Syslogs   int `json:"syslogs"`
	Processed int `json:"processed"`
	Late      int `json:"late"`
	Dead      int `json:"dead"`
	Alarms    int `json:"alarms"`
}

// summarise prints the closing line.
func (m *monitoring) summarise(ctx context.Context) error {
	s := summary{Metrics: m.read.metrics, Syslogs: m.read.syslogs}
	consumed := 0
	for _, spec := range []stream.TopicSpec{m.topics.metrics.Spec(), m.topics.syslogs.Spec()} {
		committed, err := m.client.Committed(ctx, spec, app)
		if err != nil {
			return fmt.Errorf("the closing summary: %w", err)
		}
		for _, c := range committed {
			consumed += int(c.Next - 1)
		}
	}
	var err error
	if s.Late, err = m.stored(ctx, m.topics.late.Spec()); err != nil {
		return err
	}
	if s.Alarms, err = m.stored(ctx, m.topics.alarms.Spec()); err != nil {
		return err
	}
	refused := make(map[string]int) // by source: what never became a record
	failed := 0                     // dead letters of the pipeline, whose records were consumed
	for p := range m.topics.dead.Spec().Partitions {
		err := scan(ctx, m.client, m.topics.dead.Spec(), p, 1, func(l stream.Message) {
			s.Dead++
			if l.Headers.Get(processor.DeadTopic) != "" {
				failed++
			} else {
				refused[l.Headers.Get(headerSource)]++
			}
		})
		if err != nil {
			return fmt.Errorf("the closing summary: %w", err)
		}
	}
	s.Processed = consumed - s.Late - failed
	if !m.o.replays() { // all that has come in, by former runs on the same data and by others, too
		if s.Metrics, err = m.stored(ctx, m.topics.metrics.Spec()); err != nil {
			return err
		}
		if s.Syslogs, err = m.stored(ctx, m.topics.syslogs.Spec()); err != nil {
			return err
		}
		s.Metrics += refused[sourceMetrics]
		s.Syslogs += refused[sourceSyslogs]
	}
	return json.NewEncoder(m.stderr).Encode(s)
}

// stored returns how many records a topic has got.
func (m *monitoring) stored(ctx context.Context, spec stream.TopicSpec) (int, error) {
	offsets, err := m.client.Offsets(ctx, spec)
	if err != nil {
		return 0, fmt.Errorf("the closing summary: %w", err)
	}
	n := 0
	for _, o := range offsets {
		n += int(o.Next - 1)
	}
	return n, nil
}
