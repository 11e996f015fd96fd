package stream_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// Each limit removes the oldest records, partition by partition, on disk and in memory.
func TestRetention(t *testing.T) {
	ctx := testContext(t)
	c := newClient(t)
	for _, storage := range []stream.Storage{stream.File, stream.Memory} {
		for _, spec := range []stream.TopicSpec{
			{Name: "count", MaxRecords: 10},
			{Name: "bytes", MaxBytes: 10_000},
			{Name: "age", MaxAge: time.Second},
			{Name: "all", MaxRecords: 10, MaxBytes: 1 << 20, MaxAge: time.Hour},
		} {
			spec.Name += "-" + storage.String()
			spec.Storage, spec.Partitions = storage, 2
			createTopic(t, c, spec)
			var out []stream.Outgoing
			for i := range 50 {
				out = append(out, stream.Outgoing{Topic: spec, Partition: 0, Key: fmt.Sprint(i), Data: make([]byte, 900)})
			}
			out = append(out, stream.Outgoing{Topic: spec, Partition: 1, Key: "alone"})
			require.NoError(t, c.Publish(ctx, out))
			var at []stream.PartitionOffsets
			offsets := func() stream.PartitionOffsets {
				var err error
				at, err = c.Offsets(ctx, spec)
				require.NoError(t, err)
				require.EqualValues(t, 51, at[0].Next, "what retention removes, it does not take back")
				return at[0]
			}
			if spec.MaxAge == time.Second {
				require.NotZero(t, offsets().Records)
				require.Eventually(t, func() bool { return offsets().Records == 0 }, patience, 10*time.Millisecond)
				require.EqualValues(t, 51, offsets().First)
				continue
			}
			left := readAll(t, c, spec, 0)
			require.Equal(t, uint64(len(left)), offsets().Records)
			require.Equal(t, "49", left[len(left)-1].Key, "the newest stays")
			require.EqualValues(t, 1, at[1].Records, "each partition has its own limit")
			if spec.MaxRecords > 0 {
				require.Len(t, left, 10)
				continue
			}
			require.InDelta(t, 10, len(left), 1)
			info, err := c.DescribeTopic(ctx, spec.Name)
			require.NoError(t, err)
			require.LessOrEqual(t, info.Partitions[0].Bytes, uint64(spec.MaxBytes))
		}
	}
}

// A topic on disk outlives its server, one in memory does not.
func TestStorage(t *testing.T) {
	ctx := testContext(t)
	s := restartable(t)
	c := clientOf(t, s.connect(t))
	file, memory := stream.TopicSpec{Name: "file"}, stream.TopicSpec{Name: "memory", Storage: stream.Memory}
	for _, spec := range []stream.TopicSpec{file, memory} {
		createTopic(t, c, spec)
		require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: "k", Data: []byte("v")}}))
	}
	s.restart(t)
	require.Len(t, readAll(t, c, file, 0), 1)
	_, err := c.DescribeTopic(ctx, "memory")
	var missing *stream.TopicNotFoundError
	require.ErrorAs(t, err, &missing)
}

// S2 takes less of the disk, and what is read is what was written.
func TestCompressionSavesDisk(t *testing.T) {
	ctx := testContext(t)
	dir := t.TempDir()
	s := embeddedtest.StartWith(t, embedded.Config{Dir: dir})
	c := clientOf(t, embeddedtest.ConnectTo(t, s))
	text := []byte(strings.Repeat(`{"host":"web-042","load":0.7}`, 30))
	// The server compresses a block once it is full; limits make blocks small.
	s2 := stream.TopicSpec{Name: "s2", Compression: stream.S2, MaxBytes: 8 << 20}
	none := stream.TopicSpec{Name: "none", MaxBytes: 8 << 20}
	for _, spec := range []stream.TopicSpec{s2, none} {
		createTopic(t, c, spec)
		var out []stream.Outgoing
		for i := range 5000 {
			out = append(out, stream.Outgoing{Topic: spec, Key: fmt.Sprint(i % 10), Data: text})
		}
		require.NoError(t, c.Publish(ctx, out))
		got := readAll(t, c, spec, 0)
		require.Len(t, got, 5000)
		require.Equal(t, string(text), string(got[2500].Data))
	}
	size := func(backing string) (n int64) {
		found := false
		require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".blk") && strings.Contains(path, string(filepath.Separator)+backing+string(filepath.Separator)) {
				var info fs.FileInfo
				if info, err = e.Info(); err == nil {
					found = true
					n += info.Size()
				}
			}
			if errors.Is(err, fs.ErrNotExist) { // the server has just replaced it
				return nil
			}
			return err
		}))
		require.True(t, found)
		return n
	}
	require.Eventually(t, func() bool { return size("s2-0") < size("none-0")/2 }, patience, 10*time.Millisecond)
	t.Logf("%d bytes on disk with S2, %d without", size("s2-0"), size("none-0"))
}
