package benchtable_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/internal/benchtable"
)

func read(t *testing.T, path string) (rows []benchtable.Row) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &rows))
	return rows
}

func TestRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	t.Setenv(benchtable.Env, "")
	require.NoError(t, benchtable.Record("a", 1, 1, "x"))
	require.NoFileExists(t, path)

	t.Setenv(benchtable.Env, path)
	require.NoError(t, benchtable.Record("a", 80, 100, "records/s"))
	require.NoError(t, benchtable.Record("b", 3, 2, "MB/s"))
	require.NoError(t, benchtable.Record("a", 90, 100, "records/s"))
	require.Equal(t, []benchtable.Row{
		{Name: "a", Ours: 90, Reference: 100, Ratio: 0.9, Unit: "records/s"},
		{Name: "b", Ours: 3, Reference: 2, Ratio: 1.5, Unit: "MB/s"},
	}, read(t, path))
}

func TestRecordRefusesNonsense(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	t.Setenv(benchtable.Env, path)
	for _, v := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		require.Error(t, benchtable.Record("a", v, 1, ""))
		require.Error(t, benchtable.Record("a", 1, v, ""))
	}
	require.NoError(t, os.WriteFile(path, []byte("not json"), 0o600))
	require.ErrorContains(t, benchtable.Record("a", 1, 1, ""), "remove it")
	t.Setenv(benchtable.Env, filepath.Join(path, "below"))
	require.Error(t, benchtable.Record("a", 1, 1, ""))
}

func TestConcurrentRecordsAreAllKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	t.Setenv(benchtable.Env, path)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := benchtable.Record(fmt.Sprint(i), 1, 1, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Len(t, read(t, path), 20)
}
