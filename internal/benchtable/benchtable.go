// Package benchtable collects the results of benchmarks that measure Rossby
// against a reference in the same run: one table, in the JSON file that the
// environment variable BENCH_JSON names. Without it nothing is written.
package benchtable

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
)

// Env is the environment variable that names the file.
const Env = "BENCH_JSON"

// Row is one comparison.
type Row struct {
	// Name says what was measured; it is unique in the table.
	Name string `json:"name"`
	// Ours and Reference are the two figures, the more the better.
	Ours      float64 `json:"ours"`
	Reference float64 `json:"reference"`
	// Ratio is Ours by Reference: above 1, ours is better.
	Ratio float64 `json:"ratio"`
	// Unit is that of both figures, "records/s" for example.
	Unit string `json:"unit"`
}

// Record puts a row into the table, in the place of an older one of that name.
// Figures are throughputs: more is better. It does nothing when BENCH_JSON is
// not set. The file is replaced as a whole; benchmarks of different packages
// must not run at the same time, which would spoil their figures anyway.
func Record(name string, ours, reference float64, unit string) error {
	path := os.Getenv(Env)
	if path == "" {
		return nil
	}
	if !(ours > 0) || !(reference > 0) || math.IsInf(ours, 0) || math.IsInf(reference, 0) {
		return fmt.Errorf("benchtable: %s: %v and %v are no throughputs", name, ours, reference)
	}
	row := Row{Name: name, Ours: ours, Reference: reference, Ratio: ours / reference, Unit: unit}
	if err := update(path, row); err != nil {
		return fmt.Errorf("benchtable: %s: %w", name, err)
	}
	return nil
}

// one keeps benchmarks of one process apart.
var one sync.Mutex

func update(path string, row Row) error {
	one.Lock()
	defer one.Unlock()
	var rows []Row
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(data) == 0:
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(data, &rows); err != nil {
			return fmt.Errorf("%s is not a table of benchmarks (remove it): %w", path, err)
		}
	}
	found := false
	for i := range rows {
		if rows[i].Name == row.Name {
			rows[i], found = row, true
		}
	}
	if !found {
		rows = append(rows, row)
	}
	if data, err = json.MarshalIndent(rows, "", "  "); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".benchtable-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(data, '\n'))
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
