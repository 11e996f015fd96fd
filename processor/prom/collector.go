// Package prom shows what the tasks of an app do as Prometheus metrics.
//
//	app := processor.NewApp(client, topology, processor.Config{})
//	prometheus.MustRegister(prom.NewCollector("wordcount", app))
//
// Nothing is collected between scrapes: a scrape asks [processor.App.Stats], [processor.App.StoreStats] and [processor.App.GlobalStats], which costs
// the tasks next to nothing. The package opens no port. Apps that do not import it do not link the Prometheus client.
//
// All metrics have the label app; those of tasks have subtopology and partition, which name the task. Counters count from when this instance began to run
// the task; those of a task that moves begin anew elsewhere, as Prometheus' rate expects.
//
//	rossby_task_state{state}                   1 for the state that the task has here: following, restoring or running
//	rossby_task_wait{wait,waits_for}           1 for why the task processes nothing: records (idle), input (the topic waits_for lags), commit,
//	                                           delivery or retry (of the operator waits_for), resume (paused), connection, ownership (another
//	                                           instance has it), restore; no series while it works
//	rossby_task_stream_time_seconds            largest event time seen, as a Unix time
//	rossby_task_input_lag_messages{topic}      messages known to be stored that have not been processed
//	rossby_task_input_next_offset{topic}       offset of the first one of them
//	rossby_task_records_total                  records processed
//	rossby_task_failed_attempts_total          attempts that failed and were tried again
//	rossby_task_skipped_records_total          records skipped by policy
//	rossby_task_late_records_total             records that came after all their windows had closed, in an aggregate or a join
//	rossby_task_dead_letters_total             dead letters written
//	rossby_task_produced_records_total         records written to topics or handed over, dead letters included
//	rossby_task_commits_total                  commits that are stored and delivered
//	rossby_task_commit_bytes_total             bytes of them in the journal
//	rossby_task_processing_seconds             histogram: slices of up to 512 records
//	rossby_task_commit_seconds                 histogram: storing a commit in the journal
//	rossby_task_delivery_seconds               histogram: storing the records of a commit in their topics
//	rossby_task_takeovers_total                times that the app has taken the task over in this process, since it began to run
//	rossby_task_redelivered_records_total      records of the former owner that had to be published, or handed over, at the last take-over
//	rossby_task_restored_entries_total         entries of the journal read to restore or follow
//	rossby_task_restore_left_entries           entries still to read: of a restore, or by which a copy (state following) is behind
//	rossby_task_journal_commits                commits in the journal that are not trimmed; 0 where another instance has the task
//	rossby_task_journal_bytes                  bytes of them
//	rossby_store_rows{operator,store}          rows of a store; timers are a store too
//	rossby_store_bytes{operator,store}         bytes of them in the journal's encoding
//	rossby_global_table_rows{topic}            rows of a global table
//	rossby_global_table_left_records{topic}    records of its topic that have not been read yet
//
// How long results lag behind events is time() - rossby_task_stream_time_seconds while the task is not idle.
package prom

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rossby-streams/rossby/processor"
)

// Collector is a prometheus.Collector for one app in this process. Register it once.
type Collector struct {
	app   *processor.App
	descs []*prometheus.Desc

	state, wait, streamTime, lag, next                 *prometheus.Desc
	records, failed, skipped, letters, produced        *prometheus.Desc
	commits, bytes, processing, committing, delivering *prometheus.Desc
	restored, restoreLeft, rows, rowBytes              *prometheus.Desc
	late, takeOvers, redelivered                       *prometheus.Desc
	journalCommits, journalBytes                       *prometheus.Desc
	globalRows, globalLeft                             *prometheus.Desc
}

// NewCollector returns the collector of an app. name is the value of the label app: that of the topology, or what tells apart apps of
// one process.
func NewCollector(name string, app *processor.App) *Collector {
	labels := prometheus.Labels{"app": name}
	c := &Collector{app: app}
	metric := func(name, help string, more ...string) *prometheus.Desc {
		d := prometheus.NewDesc("rossby_"+name, help, more, labels)
		c.descs = append(c.descs, d)
		return d
	}
	task := func(name, help string, more ...string) *prometheus.Desc {
		return metric(name, help, append([]string{"subtopology", "partition"}, more...)...)
	}
	c.state = task("task_state", "State of the task in this instance.", "state")
	c.wait = task("task_wait", "Why the task processes nothing.", "wait", "waits_for")
	c.streamTime = task("task_stream_time_seconds", "Largest event time that the task has seen.")
	c.lag = task("task_input_lag_messages", "Messages known to be stored that have not been processed.", "topic")
	c.next = task("task_input_next_offset", "Offset of the first message that has not been processed.", "topic")
	c.records = task("task_records_total", "Records processed.")
	c.failed = task("task_failed_attempts_total", "Attempts that failed and were tried again.")
	c.skipped = task("task_skipped_records_total", "Records skipped by policy.")
	c.letters = task("task_dead_letters_total", "Dead letters written.")
	c.produced = task("task_produced_records_total", "Records written to topics or handed over.")
	c.commits = task("task_commits_total", "Commits that are stored and delivered.")
	c.bytes = task("task_commit_bytes_total", "Bytes of commits in the journal.")
	c.processing = task("task_processing_seconds", "Duration of slices of up to 512 records.")
	c.committing = task("task_commit_seconds", "Duration of storing a commit in the journal.")
	c.delivering = task("task_delivery_seconds", "Duration of storing the records of a commit in their topics.")
	c.restored = task("task_restored_entries_total", "Entries of the journal read to restore or follow.")
	c.restoreLeft = task("task_restore_left_entries", "Entries of the journal still to read.")
	c.rows = task("store_rows", "Rows of a store.", "operator", "store")
	c.rowBytes = task("store_bytes", "Bytes of the rows of a store in the encoding of the journal.", "operator", "store")
	c.late = task("task_late_records_total", "Records that came after all their windows had closed.")
	c.takeOvers = task("task_takeovers_total", "Times that the task was taken over.")
	c.redelivered = task("task_redelivered_records_total", "Records of the former owner that had to be delivered at the last take-over.")
	c.journalCommits = task("task_journal_commits", "Commits in the journal that are not trimmed.")
	c.journalBytes = task("task_journal_bytes", "Bytes of the commits in the journal that are not trimmed.")
	c.globalRows = metric("global_table_rows", "Rows of a global table.", "topic")
	c.globalLeft = metric("global_table_left_records", "Records of a global table's topic that have not been read yet.", "topic")
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.app.Stats() {
		c.collectTask(ch, s)
	}
	c.collectGlobals(ch)
	for _, s := range c.app.StoreStats() {
		labels := []string{s.SubTopology, strconv.Itoa(s.Partition), s.Operator, s.Store}
		ch <- prometheus.MustNewConstMetric(c.rows, prometheus.GaugeValue, float64(s.Rows), labels...)
		ch <- prometheus.MustNewConstMetric(c.rowBytes, prometheus.GaugeValue, float64(s.Bytes), labels...)
	}
}

// collectGlobals tells of global tables, which belong to no task.
func (c *Collector) collectGlobals(ch chan<- prometheus.Metric) {
	for _, s := range c.app.GlobalStats() {
		ch <- prometheus.MustNewConstMetric(c.globalRows, prometheus.GaugeValue, float64(s.Rows), s.Topic)
		ch <- prometheus.MustNewConstMetric(c.globalLeft, prometheus.GaugeValue, float64(s.Left), s.Topic)
	}
}

func (c *Collector) collectTask(ch chan<- prometheus.Metric, s processor.TaskStats) {
	task := []string{s.SubTopology, strconv.Itoa(s.Partition)}
	gauge := func(d *prometheus.Desc, v float64, more ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append(task[:2:2], more...)...)
	}
	count := func(d *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), task...)
	}
	histogram := func(d *prometheus.Desc, l processor.Latencies) {
		buckets := make(map[float64]uint64)
		for bound, n := range l.Buckets() {
			buckets[bound.Seconds()] = n
		}
		ch <- prometheus.MustNewConstHistogram(d, l.Count, l.Sum.Seconds(), buckets, task...)
	}
	gauge(c.state, 1, string(s.State))
	if s.Wait != processor.WaitNone {
		gauge(c.wait, 1, string(s.Wait), s.WaitsFor)
	}
	if !s.StreamTime.IsZero() {
		gauge(c.streamTime, float64(s.StreamTime.UnixNano())/float64(time.Second))
	}
	for _, in := range s.Inputs {
		gauge(c.lag, float64(in.Lag), in.Topic)
		gauge(c.next, float64(in.Next), in.Topic)
	}
	count(c.records, s.Records)
	count(c.failed, s.Failures)
	count(c.skipped, s.Skipped)
	count(c.letters, s.DeadLetters)
	count(c.produced, s.Produced)
	count(c.commits, s.Commits)
	count(c.bytes, s.Bytes)
	histogram(c.processing, s.Processing)
	histogram(c.committing, s.Storing)
	histogram(c.delivering, s.Delivering)
	count(c.restored, s.Restored)
	gauge(c.restoreLeft, float64(s.ToRestore))
	count(c.late, s.Late)
	count(c.takeOvers, s.TakeOvers)
	count(c.redelivered, s.Redelivered)
	gauge(c.journalCommits, float64(s.JournalCommits))
	gauge(c.journalBytes, float64(s.JournalBytes))
}
