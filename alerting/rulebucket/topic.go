package rulebucket

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/stream"
)

// catchUp learns what the partitions have.
func (f *Feed[V]) catchUp(ctx context.Context) error {
	extents, err := f.client.Offsets(ctx, f.spec)
	if err != nil {
		return err
	}
	f.published = make([]map[string]published, f.spec.Partitions)
	for p := range f.published {
		if f.published[p], err = f.readPartition(ctx, p, extents[p]); err != nil {
			return err
		}
		for name, is := range f.published[p] {
			if f.count[name] = !is.removed || f.count[name]; !f.count[name] {
				delete(f.count, name)
			}
		}
	}
	return nil
}

// readPartition returns the newest changes in a partition.
func (f *Feed[V]) readPartition(ctx context.Context, p int, e stream.PartitionOffsets) (map[string]published, error) {
	newest := make(map[string]published)
	if e.First == e.Next {
		return newest, nil
	}
	ended := make(chan error, 2) // of Deliver and Failed
	reader, err := f.client.OpenReader(ctx, f.spec, p, stream.ReaderConfig{
		Deliver: func(m stream.Message) {
			if m.Offset >= e.Next {
				return
			}
			var c alerting.RuleChange
			err := json.Unmarshal(m.Data, &c)
			switch {
			case err != nil:
				f.cfg.Logger.Warn(fmt.Sprintf("topic %s, partition %d, offset %d is no change of a rule and is passed over: %v", f.spec.Name, p, m.Offset, err))
			case newest[c.Name].version.Before(c.Version):
				newest[c.Name] = published{c.Version, c.Text == ""}
			}
			if m.Offset == e.Next-1 {
				ended <- nil
			}
		},
		Failed: func(err error) { ended <- err },
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case err = <-ended:
	}
	reader.Close() // what Deliver has written is ours from here on
	return newest, err
}
