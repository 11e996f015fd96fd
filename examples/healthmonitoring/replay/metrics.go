package replay

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
)

// header is the first line of a CSV recording.
const header = "time,host,name,value"

// MetricRow is one line of a recording of metrics.
type MetricRow struct {
	// Line is its number in the file, from 1, blank lines and the header counted.
	Line int
	// Raw is the line without its end; the receiver may keep it.
	Raw []byte
	// Metric is what the line says; zero when Err is set.
	Metric health.Metric
	// Err says why there is no value: ErrMalformed, ErrNotFinite, ErrTooLong, or ErrUnreadable in the last row.
	Err error
}

// Metrics yields the rows of a recording of metrics, NDJSON or CSV. Lines of CSV need the header before them, which may
// come again, as in files that were put together. The sequence can be used once; it stops reading when the loop is left.
func Metrics(r io.Reader) iter.Seq[MetricRow] {
	return func(yield func(MetricRow) bool) {
		sawHeader := false
		for line := range lines(r) {
			next := MetricRow{Line: line.number, Raw: line.raw, Err: line.err}
			switch text := bytes.TrimSpace(line.raw); {
			case next.Err != nil:
			case string(text) == header:
				sawHeader = true
				continue
			case text[0] == '{':
				next.Metric, next.Err = fromJSON(text)
			case sawHeader:
				next.Metric, next.Err = fromCSV(string(text))
			default:
				next.Err = fmt.Errorf("%w: neither a JSON object nor CSV below the header %q", ErrMalformed, header)
			}
			if next.Err == nil {
				next.Err = check(next.Metric)
			}
			if next.Err != nil {
				next.Metric = health.Metric{}
			}
			if !yield(next) {
				return
			}
		}
	}
}

// check refuses what both formats can hold and a metric cannot.
func check(m health.Metric) error {
	switch {
	case m.Host == "":
		return fmt.Errorf("%w: the host is empty", ErrMalformed)
	case m.Name == "":
		return fmt.Errorf("%w: the name is empty", ErrMalformed)
	case math.IsNaN(m.Value) || math.IsInf(m.Value, 0):
		return fmt.Errorf("%w: %v", ErrNotFinite, m.Value)
	case m.Time.Year() < 1 || m.Time.Year() > 9999:
		return fmt.Errorf("%w: the year %d does not fit into four digits", ErrMalformed, m.Time.Year())
	}
	return nil
}

// fromJSON decodes an object; members that it does not know are a producer's own business.
func fromJSON(text []byte) (health.Metric, error) {
	var wire struct {
		Host  string     `json:"host"`
		Name  string     `json:"name"`
		Value *float64   `json:"value"`
		Unit  string     `json:"unit"`
		Time  *time.Time `json:"time"`
	}
	err := json.Unmarshal(text, &wire)
	var wrong *json.SemanticError
	switch {
	case errors.As(err, &wrong):
		if wrong.JSONPointer == "/value" && wrong.JSONKind == '0' {
			return health.Metric{}, fmt.Errorf("%w: it is beyond what a 64-bit float holds", ErrNotFinite)
		}
		return health.Metric{}, fmt.Errorf("%w: the member %.64q does not fit", ErrMalformed, wrong.JSONPointer)
	case err != nil:
		return health.Metric{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	case wire.Value == nil:
		return health.Metric{}, fmt.Errorf("%w: it has no value", ErrMalformed)
	case wire.Time == nil:
		return health.Metric{}, fmt.Errorf("%w: it has no time", ErrMalformed)
	}
	return health.Metric{Host: wire.Host, Name: wire.Name, Value: *wire.Value, Unit: wire.Unit, Time: wire.Time.UTC()}, nil
}

// fromCSV decodes a line below the header.
func fromCSV(text string) (health.Metric, error) {
	if !utf8.ValidString(text) {
		return health.Metric{}, fmt.Errorf("%w: it is not valid UTF-8", ErrMalformed)
	}
	fields := strings.Split(text, ",")
	if strings.Contains(text, `"`) {
		var err error
		quoted := csv.NewReader(strings.NewReader(text))
		quoted.FieldsPerRecord = -1
		if fields, err = quoted.Read(); err != nil {
			return health.Metric{}, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	if len(fields) != 4 {
		return health.Metric{}, fmt.Errorf("%w: %d fields and not the 4 of %q", ErrMalformed, len(fields), header)
	}
	when, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(fields[0]))
	if err != nil {
		return health.Metric{}, fmt.Errorf("%w: the time %.64q is not of RFC 3339", ErrMalformed, fields[0])
	}
	value, err := strconv.ParseFloat(strings.TrimSpace(fields[3]), 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return health.Metric{}, fmt.Errorf("%w: %.64s", ErrNotFinite, fields[3])
	case err != nil:
		return health.Metric{}, fmt.Errorf("%w: the value %.64q is no number", ErrMalformed, fields[3])
	}
	return health.Metric{Host: strings.TrimSpace(fields[1]), Name: strings.TrimSpace(fields[2]), Value: value, Time: when.UTC()}, nil
}
