package scenario

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// departure says what a case gives here, where the library leaves the reference on purpose.
type departure struct {
	number     string
	steps      map[int]step // by index: what is asserted after the step, in place of what the case says
	finalDrops *int
}

var departureNumber = regexp.MustCompile(`^D[1-9][0-9]*$`)

// parseDepartures reads a list of departures:
//
//	{"case name": {"departure": "D4", "why": "...", "steps": {"3": {"expect": [...]}}, "final_drops": 1}}
//
// Steps are counted from 1. What a listed step asserts replaces all that the case asserts there.
func parseDepartures(data []byte) (map[string]departure, error) {
	var raw map[string]struct {
		Departure  string                    `json:"departure"`
		Why        string                    `json:"why"`
		Steps      map[string]jsontext.Value `json:"steps"`
		FinalDrops *int                      `json:"final_drops"`
	}
	if err := json.Unmarshal(data, &raw, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	list := make(map[string]departure, len(raw))
	for name, r := range raw {
		d := departure{number: r.Departure, steps: make(map[int]step, len(r.Steps)), finalDrops: r.FinalDrops}
		if !departureNumber.MatchString(r.Departure) {
			return nil, fmt.Errorf("case %s: %w", name, malformed("departure %q: it is the number of a departure, such as D4", r.Departure))
		}
		if len(r.Steps) == 0 && r.FinalDrops == nil {
			return nil, fmt.Errorf("case %s: %w", name, malformed("it does not say what our result is"))
		}
		for number, data := range r.Steps {
			i, err := strconv.Atoi(number)
			if err != nil || i < 1 {
				return nil, fmt.Errorf("case %s: %w", name, malformed("step %q: steps are counted from 1", number))
			}
			s, err := parseStep(data)
			if err == nil && (s.Input != nil || s.Restart || s.Flush || s.SetWallClock != nil || s.AdvanceWallClock != nil) {
				err = malformed("a departure changes what is asserted, not what happens")
			}
			if err != nil {
				return nil, fmt.Errorf("case %s: step %d: %w", name, i, err)
			}
			d.steps[i-1] = s
		}
		list[name] = d
	}
	return list, nil
}

// departuresIn reads the list of departures of a folder; none is an empty one.
func departuresIn(dir string) (map[string]departure, error) {
	path := filepath.Join(dir, departuresFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read departures: %w", err)
	}
	list, err := parseDepartures(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// apply gives the case with our results in it.
func (d departure) apply(c Case) (Case, error) {
	steps := append([]step(nil), c.steps...)
	for i, ours := range d.steps {
		if i >= len(steps) {
			return c, malformed("departure %s of case %s: there is no step %d", d.number, c.Name, i+1)
		}
		s := &steps[i]
		s.Outputs, s.ExpectDrops, s.ExpectTable, s.ExpectError = ours.Outputs, ours.ExpectDrops, ours.ExpectTable, ours.ExpectError
	}
	c.steps = steps
	if d.finalDrops != nil {
		c.finalDrops = d.finalDrops
	}
	return c, nil
}
