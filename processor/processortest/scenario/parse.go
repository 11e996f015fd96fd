package scenario

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Parse reads one file: a family of cases. Errors name the case and the step; the cases that can be read are there all the same. A
// case that asks for something that the runner does not have is no error: it has a Reason.
func Parse(data []byte) ([]Case, error) {
	var family struct {
		Family  string           `json:"family"`
		Notes   jsontext.Value   `json:"notes"`
		Cases   []jsontext.Value `json:"cases"`
		Unknown fields           `json:",embed"`
	}
	if err := json.Unmarshal(data, &family); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if family.Family == "" {
		return nil, malformed("the family has no name")
	}
	odd := noUnknown("the family", family.Unknown)
	names := make(map[string]bool)
	var cases []Case
	var broken []error
	for i, raw := range family.Cases {
		c, err := parseCase(raw)
		if err != nil {
			broken = append(broken, fmt.Errorf("case %d (%s): %w", i+1, c.Name, err))
			continue
		}
		if names[c.Name] {
			broken = append(broken, fmt.Errorf("case %d: %w", i+1, malformed("the name %q is taken already", c.Name)))
			continue
		}
		names[c.Name] = true
		c.Family = family.Family
		if c.Reason == nil {
			c.Reason = odd
		}
		cases = append(cases, c)
	}
	return cases, errors.Join(broken...)
}

// parseCase reads one case. Its name is there even if it cannot be read any further.
func parseCase(data []byte) (Case, error) {
	var raw struct {
		Name               string           `json:"name"`
		Source             jsontext.Value   `json:"source"`
		Note               jsontext.Value   `json:"note"`
		Operator           jsontext.Value   `json:"operator"`
		Steps              []jsontext.Value `json:"steps"`
		FinalDrops         *int             `json:"final_drops"`
		RetentionDependent bool             `json:"retention_dependent"`
		Unknown            fields           `json:",embed"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return Case{Name: raw.Name}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	c := Case{Name: raw.Name, finalDrops: raw.FinalDrops}
	switch {
	case raw.Name == "":
		return c, malformed("it has no name")
	case len(raw.Operator) == 0:
		return c, malformed("it has no operator")
	case len(raw.Steps) == 0:
		return c, malformed("it has no steps")
	}
	var reason error
	if reason = noUnknown("the case", raw.Unknown); reason == nil && raw.RetentionDependent {
		reason = NotApplicable("it depends on the retention of the reference's stores")
	}
	if err := json.Unmarshal(raw.Operator, &c.Operator); err != nil {
		return c, inFormat(err)
	}
	for i, data := range raw.Steps {
		s, err := parseStep(data)
		if errors.Is(err, ErrNotApplicable) {
			if reason == nil {
				reason = fmt.Errorf("step %d: %w", i+1, err)
			}
		} else if err != nil {
			return c, fmt.Errorf("step %d: %w", i+1, err)
		}
		c.steps = append(c.steps, s)
	}
	c.Reason = reason
	return c, nil
}

func parseStep(data []byte) (step, error) {
	var s step
	if err := json.Unmarshal(data, &s); err != nil {
		// What is not known goes first: fields that are not for us may have any form.
		return s, inFormat(err)
	}
	return s, s.check()
}

// inFormat makes an error of reading JSON one about the format, unless it says already that the case is not applicable.
func inFormat(err error) error {
	if errors.Is(err, ErrNotApplicable) || errors.Is(err, ErrFormat) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}

// departuresFile is the list of cases whose result is another one here, on purpose. It lies beside the cases.
const departuresFile = "departures.json"

// files lists the scenario files of a folder and of those in it.
func files(dir string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.IsDir() && strings.HasSuffix(path, ".json") && entry.Name() != departuresFile {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the folder of scenarios: %w", err)
	}
	return found, nil
}

// parseFile reads the cases of a file: see Parse.
func parseFile(path string) ([]Case, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read scenarios: %w", err)
	}
	cases, err := Parse(data)
	if err != nil {
		return cases, fmt.Errorf("%s: %w", path, err)
	}
	return cases, nil
}
