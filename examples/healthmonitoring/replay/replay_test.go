package replay

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
	"github.com/rossby-streams/rossby/examples/healthmonitoring/syslogd"
)

var noon = time.Date(2023, 1, 29, 12, 0, 0, 0, time.UTC)

func metric(value float64) health.Metric {
	return health.Metric{Host: "web1", Name: "cpu_percent", Value: value, Time: noon}
}

func metricRows(text string) []MetricRow { return slices.Collect(Metrics(strings.NewReader(text))) }

func TestMetricsNDJSON(t *testing.T) {
	rows := metricRows("\n" + `{"host":"web1","name":"cpu_percent","value":93.5,"unit":"%","time":"2023-01-29T13:00:00+01:00"}` + "\r\n  \n" +
		` {"time":"2023-01-29T12:00:00.000000Z","value":-1e3,"name":"cpu_percent","host":"web1","pod":{"a":[1]}}`)
	require.Len(t, rows, 2)
	want := metric(93.5)
	want.Unit = "%"
	require.NoError(t, rows[0].Err)
	require.Equal(t, want, rows[0].Metric)
	require.Equal(t, 2, rows[0].Line)
	require.NoError(t, rows[1].Err)
	require.Equal(t, metric(-1000), rows[1].Metric)
	require.Equal(t, 4, rows[1].Line)
	require.True(t, bytes.HasPrefix(rows[1].Raw, []byte(` {"time"`)))
	require.True(t, bytes.HasSuffix(rows[0].Raw, []byte(`+01:00"}`)), "the line end belongs to no row")
}

func TestMetricsCSV(t *testing.T) {
	rows := metricRows("\ufefftime,host,name,value\r\n2023-01-29T12:00:00.000000Z,web1,cpu_percent,0.5\n" +
		"time,host,name,value\n" + `2023-01-29T12:00:00Z,"web1",cpu_percent," 2"` + "\n" +
		`{"host":"web1","name":"cpu_percent","value":3,"time":"2023-01-29T12:00:00Z"}` + "\n")
	require.Len(t, rows, 3)
	for i, want := range []health.Metric{metric(0.5), metric(2), metric(3)} {
		require.NoError(t, rows[i].Err)
		require.Equal(t, want, rows[i].Metric)
		require.Equal(t, []int{2, 4, 5}[i], rows[i].Line)
	}
}

// TestBadLinesAreRows puts each kind of bad line between two good ones.
func TestBadLinesAreRows(t *testing.T) {
	const good = `{"host":"web1","name":"cpu_percent","value":1,"time":"2023-01-29T12:00:00Z"}`
	for text, want := range map[string]error{
		`{"host":"web1","name":"cpu_percent","value":NaN,"time":"2023-01-29T12:00:00Z"}`:   ErrMalformed,
		`{"host":"web1","name":"cpu_percent","value":1e999,"time":"2023-01-29T12:00:00Z"}`: ErrNotFinite,
		`{"host":"web1","name":"cpu_percent","value":"1","time":"2023-01-29T12:00:00Z"}`:   ErrMalformed,
		`{"host":"web1","name":"cpu_percent","value":null,"time":"2023-01-29T12:00:00Z"}`:  ErrMalformed,
		`{"host":"web1","name":"cpu_percent","time":"2023-01-29T12:00:00Z"}`:               ErrMalformed,
		`{"host":"web1","name":"cpu_percent","value":1}`:                                   ErrMalformed,
		`{"host":"web1","name":"cpu_percent","value":1,"time":"yesterday"}`:                ErrMalformed,
		`{"host":"web1","name":"cpu_percent","value":1,"time":1675000000}`:                 ErrMalformed,
		`{"host":"","name":"cpu_percent","value":1,"time":"2023-01-29T12:00:00Z"}`:         ErrMalformed,
		`{"host":"web1","value":1,"time":"2023-01-29T12:00:00Z"}`:                          ErrMalformed,
		`{"host":"web1","name":"a","value":1,"value":2,"time":"2023-01-29T12:00:00Z"}`:     ErrMalformed,
		`{"host":"web1","name":"cpu_percent","value":1,"time":"2023-01-29T12:00:00Z"`:      ErrMalformed,
		`{"host":"web1","name":"cpu_percent","value":1,"time":"2023-01-29T12:00:00Z"} {}`:  ErrMalformed,
		"{\"host\":\"\xff\",\"name\":\"a\",\"value\":1,\"time\":\"2023-01-29T12:00:00Z\"}": ErrMalformed,
		`{"host":"web1","name":"a","value":1,"time":"9999-12-31T23:59:59-01:00"}`:          ErrMalformed,
		`{"a":` + strings.Repeat("[", 100000):                                              ErrMalformed,
		`[]`:                                                                               ErrMalformed,
		`2023-01-29T12:00:00Z,web1,cpu_percent,NaN`:                                        ErrNotFinite,
		`2023-01-29T12:00:00Z,web1,cpu_percent,-Inf`:                                       ErrNotFinite,
		`2023-01-29T12:00:00Z,web1,cpu_percent,1e999`:                                      ErrNotFinite,
		`2023-01-29T12:00:00Z,web1,cpu_percent,`:                                           ErrMalformed,
		`2023-01-29T12:00:00Z,web1,cpu_percent`:                                            ErrMalformed,
		`2023-01-29T12:00:00Z,web1,cpu_percent,1,%`:                                        ErrMalformed,
		`2023-01-29T12:00:00Z,,cpu_percent,1`:                                              ErrMalformed,
		`2023-01-29T12:00:00Z,web1, ,1`:                                                    ErrMalformed,
		`1675000000,web1,cpu_percent,1`:                                                    ErrMalformed,
		`2023-01-29T12:00:00Z,"web1,cpu_percent,1`:                                         ErrMalformed,
		"2023-01-29T12:00:00Z,\xff,cpu_percent,1":                                          ErrMalformed,
		"\x00":                             ErrMalformed,
		strings.Repeat("x", maxLine+1):     ErrTooLong,
		strings.Repeat(" ", maxLine) + "x": ErrTooLong,
	} {
		rows := metricRows("time,host,name,value\n" + good + "\n" + text + "\n" + good)
		require.Len(t, rows, 3, "%.80q", text)
		require.NoError(t, rows[0].Err)
		require.ErrorIs(t, rows[1].Err, want, "%.80q", text)
		require.Less(t, len(rows[1].Err.Error()), 400)
		require.Equal(t, 3, rows[1].Line)
		require.Zero(t, rows[1].Metric)
		require.True(t, strings.HasPrefix(text, string(rows[1].Raw)))
		require.NoError(t, rows[2].Err)
		require.Equal(t, metric(1), rows[2].Metric)
	}
	rows := metricRows("2023-01-29T12:00:00Z,web1,cpu_percent,1\n" + good)
	require.ErrorContains(t, rows[0].Err, `below the header "time,host,name,value"`)
	require.NoError(t, rows[1].Err)
}

func TestLongLines(t *testing.T) {
	longest := "<13>1 2023-01-29T12:00:00Z h - - - - " + strings.Repeat("x", maxLine-37)
	require.Len(t, longest, maxLine)
	rows := slices.Collect(Syslogs(strings.NewReader(longest+"\r\n"+longest+"x\n"+longest+strings.Repeat("x", 3*maxLine)+"\r\n"+longest), Options{}))
	require.Len(t, rows, 4)
	require.NoError(t, rows[0].Err)
	require.Equal(t, longest, string(rows[0].Raw))
	require.EqualError(t, rows[1].Err, "the line is longer than 1 MiB: 1048577 bytes")
	require.ErrorIs(t, rows[2].Err, ErrTooLong)
	require.Equal(t, longest[:keptOfLong], string(rows[2].Raw))
	require.NoError(t, rows[3].Err)
	require.Equal(t, 4, rows[3].Line)
}

func TestSyslogs(t *testing.T) {
	text := "<134>1 2023-01-29T12:00:00Z web1 server - - - text\n\n" +
		"<131>1 1754-08-30T22:43:41.128654Z web1 server - - - old\n" +
		"garbage\n" +
		"Jan 29 12:00:00 web1 app[1]: no priority\r\n" +
		"<13>no time\n"
	rows := slices.Collect(Syslogs(strings.NewReader(text), Options{Year: 2023, Location: time.UTC}))
	require.Len(t, rows, 5)
	require.Equal(t, health.Syslog{Host: "web1", Time: noon, Severity: "info", Facility: "local0", App: "server", Message: "text"}, rows[0].Syslog)
	require.Equal(t, 1754, rows[1].Syslog.Time.Year())
	require.Equal(t, 3, rows[1].Line)
	require.ErrorIs(t, rows[2].Err, syslogd.ErrMalformed)
	require.Equal(t, "garbage", string(rows[2].Raw))
	require.Equal(t, health.Syslog{Host: "web1", Time: noon, Severity: "notice", Facility: "user", App: "app", ProcID: "1", Message: "no priority"}, rows[3].Syslog)
	require.ErrorIs(t, rows[4].Err, syslogd.ErrNoTime, "a recording has no moment of receipt")

	rows = slices.Collect(Syslogs(strings.NewReader(text), Options{}))
	require.ErrorIs(t, rows[3].Err, syslogd.ErrNoYear)
}

func TestRowsOwnTheirBytes(t *testing.T) {
	rows := slices.Collect(Syslogs(strings.NewReader(strings.Repeat("a\nb\n", 50000)), Options{}))
	require.Len(t, rows, 100000)
	for i, r := range rows {
		require.Equal(t, string("ab"[i%2]), string(r.Raw))
	}
}

func TestLeavingEarlyReadsNoFurther(t *testing.T) {
	in := io.MultiReader(strings.NewReader("a\nb\n"), iotest.ErrReader(errors.New("read too far")))
	for r := range Syslogs(in, Options{}) {
		require.NotErrorIs(t, r.Err, ErrUnreadable)
		if r.Line == 2 {
			break
		}
	}
}

func TestReadErrorsEndTheReplayAndSayWhere(t *testing.T) {
	broken := errors.New("disk on fire")
	in := io.MultiReader(strings.NewReader("time,host,name,value\n2023-01-29T12:00:00Z,web1,cpu_percent,1\n2023-01-"), iotest.ErrReader(broken))
	rows := slices.Collect(Metrics(in))
	require.Len(t, rows, 2)
	require.NoError(t, rows[0].Err)
	require.ErrorIs(t, rows[1].Err, ErrUnreadable)
	require.ErrorIs(t, rows[1].Err, broken)
	require.Equal(t, "2023-01-", string(rows[1].Raw))
	require.EqualError(t, rows[1].Err, "the recording cannot be read any further: line 3: disk on fire")
}

func pack(t *testing.T, text string) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func write(t *testing.T, name string, data []byte) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestOpenTellsGzipByItsContent(t *testing.T) {
	text := strings.Repeat("<13>1 2023-01-29T12:00:00Z h - - - - x\n", 1000)
	for name, data := range map[string][]byte{
		"plain.gz": []byte(text),
		"zipped":   pack(t, text),
		"members":  append(pack(t, text[:len(text)/2]), pack(t, text[len(text)/2:])...),
	} {
		r, err := Open(write(t, name, data))
		require.NoError(t, err)
		rows := slices.Collect(Syslogs(r, Options{}))
		require.NoError(t, r.Close())
		require.Len(t, rows, 1000, name)
		for _, row := range rows {
			require.NoError(t, row.Err)
		}
	}
	for name, data := range map[string][]byte{"empty": {}, "empty.gz": pack(t, ""), "one": {0x1f}} {
		r, err := Open(write(t, name, data))
		require.NoError(t, err, name)
		require.LessOrEqual(t, len(slices.Collect(Syslogs(r, Options{}))), 1)
		require.NoError(t, r.Close())
	}
}

func TestDamagedGzip(t *testing.T) {
	var text strings.Builder
	for i := range 5000 {
		text.WriteString("<13>1 2023-01-29T12:00:00Z h - - - - " + strings.Repeat(string(rune('a'+i%26)), i%40) + "\n")
	}
	whole := pack(t, text.String())
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-6] ^= 1 // in the checksum: everything is decompressed before it shows
	for name, data := range map[string][]byte{"cut": whole[:len(whole)/2], "no checksum": whole[:len(whole)-3], "flipped": flipped,
		"trailer": append(bytes.Clone(whole), "garbage"...)} {
		path := write(t, "recording.gz", data)
		r, err := Open(path)
		require.NoError(t, err)
		rows := slices.Collect(Syslogs(r, Options{}))
		require.NoError(t, r.Close())
		last := rows[len(rows)-1]
		require.ErrorIs(t, last.Err, ErrUnreadable, name)
		require.ErrorContains(t, last.Err, path)
		require.Greater(t, len(rows), 100, "what could be decompressed is replayed")
		for _, row := range rows[:len(rows)-1] {
			require.NoError(t, row.Err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	_, err := Open(missing)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, missing)
	dir := t.TempDir()
	_, err = Open(dir)
	require.ErrorContains(t, err, dir)
	bad := write(t, "bad.gz", []byte{0x1f, 0x8b, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	_, err = Open(bad)
	require.ErrorContains(t, err, bad+" begins like a gzip file and is none")
}

func FuzzMetrics(f *testing.F) {
	f.Add([]byte("time,host,name,value\n2023-01-29T12:00:00Z,web1,cpu_percent,1\n\n{\"host\":\"a\"}\r\n"))
	f.Add([]byte(`{"host":"web1","name":"cpu_percent","value":1e999,"unit":"%","time":"2023-01-29T12:00:00Z"}`))
	f.Add([]byte("\xef\xbb\xbftime,host,name,value\r\n0000-01-01T00:00:00+01:00,\"a\"\"b\",n,0x1p-2"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := 0
		for _, text := range bytes.Split(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), []byte("\n")) {
			if text = bytes.TrimSpace(text); len(text) > 0 && string(text) != header {
				n++
			}
		}
		rows := slices.Collect(Metrics(bytes.NewReader(data)))
		require.Len(t, rows, n, "every line is a row")
		halves := slices.Collect(Metrics(iotest.HalfReader(bytes.NewReader(data))))
		require.Len(t, halves, n)
		for i, r := range rows {
			require.Equal(t, r.Raw, halves[i].Raw)
			require.Equal(t, r.Metric, halves[i].Metric)
			if r.Err != nil {
				require.NotErrorIs(t, r.Err, ErrUnreadable)
				require.NotContains(t, r.Err.Error(), "\n")
				continue
			}
			require.NotEmpty(t, r.Metric.Host)
			_, err := r.Metric.Time.MarshalJSON()
			require.NoError(t, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1, 0, 0, 0xff, 0xff})
	f.Add([]byte("<13>1 - - - - - -\nx"))
	path := filepath.Join(f.TempDir(), "recording")
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o600))
		r, err := Open(path)
		if err != nil {
			return
		}
		number := 0
		for row := range Syslogs(io.LimitReader(r, 1<<20), Options{}) {
			require.Greater(t, row.Line, number)
			number = row.Line
		}
		require.NoError(t, r.Close())
	})
}

func BenchmarkMetrics(b *testing.B) {
	for name, text := range map[string]string{
		"csv":    "time,host,name,value\n" + strings.Repeat("2023-01-29T08:41:09.000000Z,ts-basic-service-5dc8d4f9fd-46997,memory_percent,20.370507812499998\n", 1000),
		"ndjson": strings.Repeat(`{"host":"ts-basic-service-5dc8d4f9fd-46997","name":"memory_percent","value":20.370507812499998,"time":"2023-01-29T08:41:09Z"}`+"\n", 1000),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for r := range Metrics(strings.NewReader(text)) {
					if r.Err != nil {
						b.Fatal(r.Err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/row")
		})
	}
}
