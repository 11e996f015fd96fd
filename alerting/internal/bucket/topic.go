package bucket

import (
	"context"
	"fmt"

	"github.com/rossby-streams/rossby/stream"
)

// catchUp learns what the partitions have.
func (f *Feed) catchUp(ctx context.Context) error {
	extents, err := f.client.Offsets(ctx, f.cfg.Topic)
	if err != nil {
		return err
	}
	f.published = make([]map[string]published, f.cfg.Topic.Partitions)
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
func (f *Feed) readPartition(ctx context.Context, p int, e stream.PartitionOffsets) (map[string]published, error) {
	newest := make(map[string]published)
	if e.First == e.Next {
		return newest, nil
	}
	ended := make(chan error, 2) // of Deliver and Failed
	reader, err := f.client.OpenReader(ctx, f.cfg.Topic, p, stream.ReaderConfig{
		Deliver: func(m stream.Message) {
			if m.Offset >= e.Next {
				return
			}
			c, err := f.cfg.Decode(m.Data)
			switch {
			case err != nil:
				f.cfg.Logger.Warn(fmt.Sprintf("topic %s, partition %d, offset %d is no change of a %s and is passed over: %v", f.cfg.Topic.Name, p, m.Offset, f.cfg.What, err))
			case newest[c.Name].version.Before(c.Version):
				newest[c.Name] = published{c.Version, c.Removed}
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
