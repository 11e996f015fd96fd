package stream_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// configured starts a server with a configuration file and a port.
func configured(t testing.TB, config string) *embedded.Server {
	t.Helper()
	return embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort, ConfigFile: file(t, "server.conf", []byte(config))})
}

func file(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

// natsContext writes a context as the nats tool does, selects it and gives its
// name.
func natsContext(t *testing.T, settings map[string]string) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	dir := filepath.Join(home, "nats", "context")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	data, err := json.Marshal(settings)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prod.json"), data, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(home, "nats", "context.txt"), []byte("prod\n"), 0o600))
	return "prod"
}

// connect makes a client as cfg says; its connection is closed with the test.
func connect(t testing.TB, cfg stream.ConnectConfig) *stream.Client {
	t.Helper()
	nc, sc, err := stream.Connect(testContext(t), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		closed := nc.StatusChanged(nats.CLOSED)
		nc.Close()
		<-closed
	})
	c, err := stream.NewClient(nc, sc)
	require.NoError(t, err)
	return c
}

// everyFeature uses everything that sends requests to the server: topics, a
// producer, Publish, a reader, a consumer, offsets, groups, a journal.
func everyFeature(t *testing.T, c *stream.Client) {
	t.Helper()
	ctx := testContext(t)
	topic := stream.Topic[string]{Name: "metrics", Partitions: 2}
	spec := topic.Spec()
	createTopic(t, c, spec)
	p, err := stream.NewProducer(c, topic, stream.ProducerConfig{})
	require.NoError(t, err)
	for i := range 1000 {
		require.NoError(t, p.Send(ctx, stream.ProducerRecord[string]{Key: fmt.Sprint(i), Value: "v"}))
	}
	require.NoError(t, p.Close(ctx))
	require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: "k", Data: []byte(`"v"`), ID: "1"}}))
	require.Equal(t, 1001, len(readAll(t, c, spec, 0))+len(readAll(t, c, spec, 1)))
	k, err := stream.NewConsumer(ctx, c, topic, stream.ConsumerConfig{Group: "g"})
	require.NoError(t, err)
	defer k.Close()
	for n := 0; n < 1001; {
		records, err := k.Poll(ctx)
		require.NoError(t, err)
		n += len(records)
	}
	require.NoError(t, k.Commit(ctx))
	k.Close()
	groups, err := c.Groups(ctx)
	require.NoError(t, err)
	require.Len(t, groups, 1)
	for _, o := range groups[0].Offsets {
		require.Zero(t, o.Lag)
	}
	_, err = c.OffsetsAt(ctx, spec, time.Now())
	require.NoError(t, err)
	j, err := c.OpenJournal(ctx, "journal")
	require.NoError(t, err)
	require.NoError(t, j.Replay(ctx, func(stream.Entry) error { return nil }))
	for _, size := range []int{10, 3 << 20} {
		_, err = j.Append(ctx, make([]byte, size))
		require.NoError(t, err)
	}
	require.NoError(t, c.DeleteJournal(ctx, "journal"))
	require.NoError(t, c.DeleteTopic(ctx, "metrics"))
}

func TestConnectWithPassword(t *testing.T) {
	s := configured(t, `authorization { user: ann, password: "s3cret/word" }`)
	host := strings.TrimPrefix(s.URL(), "nats://")
	everyFeature(t, connect(t, stream.ConnectConfig{URL: "nats://ann:s3cret%2Fword@" + host}))
	everyFeature(t, connect(t, stream.ConnectConfig{URL: s.URL(), Options: []nats.Option{nats.UserInfo("ann", "s3cret/word")}}))
	name := natsContext(t, map[string]string{"url": s.URL(), "user": "ann", "password": "s3cret/word"})
	everyFeature(t, connect(t, stream.ConnectConfig{Context: name}))
	everyFeature(t, connect(t, stream.ConnectConfig{}))
	everyFeature(t, connect(t, stream.ConnectConfig{Context: filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "nats", "context", "prod.json")}))
}

func TestConnectWithTLS(t *testing.T) {
	ca, cert, key := certificates(t)
	s := configured(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", cert, key, ca))
	everyFeature(t, connect(t, stream.ConnectConfig{URL: strings.Replace(s.URL(), "nats:", "tls:", 1), CA: ca, Cert: cert, Key: key}))
	name := natsContext(t, map[string]string{"url": s.URL(), "ca": ca, "cert": cert, "key": key})
	everyFeature(t, connect(t, stream.ConnectConfig{Context: name}))

	var refused *stream.ConnectError
	_, _, err := stream.Connect(testContext(t), stream.ConnectConfig{URL: s.URL()})
	require.ErrorAs(t, err, &refused)
	require.ErrorContains(t, err, "certificate")
}

// certificates makes a certificate for 127.0.0.1 that is its own authority, for
// servers and clients.
func certificates(t *testing.T) (ca, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	cert = file(t, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	key = file(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	return cert, cert, key
}

func TestConnectWithNKey(t *testing.T) {
	user, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := user.PublicKey()
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	s := configured(t, "authorization { users: [ { nkey: "+public+" } ] }")
	path := file(t, "user.nk", seed)
	everyFeature(t, connect(t, stream.ConnectConfig{URL: s.URL(), NKey: path}))
	everyFeature(t, connect(t, stream.ConnectConfig{Context: natsContext(t, map[string]string{"url": s.URL(), "nkey": path})}))

	_, _, err = stream.Connect(testContext(t), stream.ConnectConfig{URL: s.URL()})
	require.ErrorIs(t, err, nats.ErrAuthorization)
	_, _, err = stream.Connect(testContext(t), stream.ConnectConfig{URL: s.URL(), NKey: path + "x"})
	require.Error(t, err)
}

// A server in operator mode: who may do what is in JWTs, and the client has a
// credentials file.
func TestConnectWithCredentials(t *testing.T) {
	pair := func(make func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		k, err := make()
		require.NoError(t, err)
		public, err := k.PublicKey()
		require.NoError(t, err)
		return k, public
	}
	operator, operatorID := pair(nkeys.CreateOperator)
	operatorJWT, err := jwt.NewOperatorClaims(operatorID).Encode(operator)
	require.NoError(t, err)
	account, accountID := pair(nkeys.CreateAccount)
	claims := jwt.NewAccountClaims(accountID)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1}
	accountJWT, err := claims.Encode(operator)
	require.NoError(t, err)
	_, systemID := pair(nkeys.CreateAccount)
	systemJWT, err := jwt.NewAccountClaims(systemID).Encode(operator)
	require.NoError(t, err)
	user, userID := pair(nkeys.CreateUser)
	userJWT, err := jwt.NewUserClaims(userID).Encode(account)
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	creds, err := jwt.FormatUserConfig(userJWT, seed)
	require.NoError(t, err)

	s := configured(t, fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n%s: %s\n%s: %s\n}",
		operatorJWT, systemID, accountID, accountJWT, systemID, systemJWT))
	path := file(t, "user.creds", creds)
	everyFeature(t, connect(t, stream.ConnectConfig{URL: s.URL(), Creds: path}))
	everyFeature(t, connect(t, stream.ConnectConfig{Context: natsContext(t, map[string]string{"url": s.URL(), "creds": path})}))
}

// A leaf node with a JetStream of its own reaches its hub's by domain.
func TestJetStreamDomain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	leaves := l.Addr().String()
	require.NoError(t, l.Close())
	hub := configured(t, "jetstream { domain: hub }\nleafnodes { listen: \""+leaves+"\" }")
	leaf := configured(t, "jetstream { domain: leaf }\nleafnodes { remotes: [ { url: \"nats://"+leaves+"\" } ] }")

	ctx := testContext(t)
	nc, cfg, err := stream.Connect(ctx, stream.ConnectConfig{Context: natsContext(t, map[string]string{"url": leaf.URL(), "jetstream_domain": "hub"})})
	require.NoError(t, err)
	t.Cleanup(func() {
		closed := nc.StatusChanged(nats.CLOSED)
		nc.Close()
		<-closed
	})
	require.Equal(t, "hub", cfg.Domain)
	var far *stream.Client
	require.Eventually(t, func() bool { // the leaf has to find its hub first
		far, err = stream.NewClient(nc, cfg)
		return err == nil
	}, patience, 10*time.Millisecond, "%v", err)
	everyFeature(t, far)

	createTopic(t, far, stream.TopicSpec{Name: "there"})
	require.NoError(t, far.Publish(ctx, []stream.Outgoing{{Topic: stream.TopicSpec{Name: "there"}, Key: "k"}}))
	_, err = connect(t, stream.ConnectConfig{URL: hub.URL()}).DescribeTopic(ctx, "there")
	require.NoError(t, err)
	var missing *stream.TopicNotFoundError
	_, err = connect(t, stream.ConnectConfig{URL: leaf.URL()}).DescribeTopic(ctx, "there")
	require.ErrorAs(t, err, &missing)

	_, err = stream.NewClient(nc, stream.Config{Domain: "nowhere"})
	require.ErrorIs(t, err, stream.ErrNoJetStream)
}

// An account without JetStream uses that of another one, which it imports.
func TestJetStreamOfAnotherAccount(t *testing.T) {
	s := configured(t, `
accounts {
  MAIN {
    jetstream: enabled
    users: [ { user: main, password: main } ]
    exports: [
      { service: "$JS.API.>", response_type: stream }
      { service: "metrics.>", response_type: stream }
      { service: "_rossby.>", response_type: stream }
      { service: "$JS.ACK.>" }
    ]
  }
  APP {
    users: [ { user: app, password: app } ]
    imports: [
      { service: { account: MAIN, subject: "$JS.API.>" }, to: "JS.main.API.>" }
      { service: { account: MAIN, subject: "metrics.>" } }
      { service: { account: MAIN, subject: "_rossby.>" } }
      { service: { account: MAIN, subject: "$JS.ACK.>" } }
    ]
  }
}`)
	nc, err := nats.Connect(s.URL(), nats.UserInfo("app", "app"))
	require.NoError(t, err)
	_, err = stream.NewClient(nc, stream.Config{})
	nc.Close()
	require.ErrorIs(t, err, stream.ErrNoJetStream)
	c := connect(t, stream.ConnectConfig{Context: natsContext(t, map[string]string{
		"url": s.URL(), "user": "app", "password": "app", "jetstream_api_prefix": "JS.main.API",
	})})
	everyFeature(t, c)
}

func TestIllegalDomains(t *testing.T) {
	nc := embeddedtest.Connect(t)
	for _, cfg := range []stream.Config{{Domain: "a", APIPrefix: "b"}, {Domain: "a.b"}, {Domain: "*"}, {APIPrefix: "a..b"}, {APIPrefix: ".a"}, {APIPrefix: "a.>"}, {APIPrefix: "a b"}} {
		_, err := stream.NewClient(nc, cfg)
		require.ErrorContains(t, err, "stream: Config", "%+v", cfg)
	}
	for _, prefix := range []string{"$JS.API", "$JS.API."} {
		_, err := stream.NewClient(nc, stream.Config{APIPrefix: prefix})
		require.NoError(t, err)
	}
}

// No secret of a URL or a context is in an error or in the log, whatever is wrong
// with it.
func TestConnectKeepsSecrets(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	s := configured(t, `authorization { user: ann, password: right }`)
	host := strings.TrimPrefix(s.URL(), "nats://")
	const secret = "hunter2"
	urls := []string{
		"nats://ann:hunter2@" + host,
		"nats://hunter2@" + host,
		"nats://ann:hunter2@127.0.0.1:1",
		"nats://ann:hunter2",
		"nats://ann:hunter2@host:port",
		"nats://ann:hunter2 @" + host,
		"nats://ann:hunter2%zz@" + host,
		"nats://ann:hunter2/x@" + host,
		"nats://ann:@hunter2@" + host,
		"://ann:hunter2@" + host,
		"hunter2:hunter2",
		"nats://a:hunter2@127.0.0.1:1,nats://b:hunter2@127.0.0.1:x",
	}
	var failed *stream.ConnectError
	for _, u := range urls {
		_, _, err := stream.Connect(testContext(t), stream.ConnectConfig{URL: u, Logger: zap.New(core)})
		require.ErrorAs(t, err, &failed, "%s", u)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, failed.Err, failed), secret, "%s", u)
		_, _, err = stream.Connect(testContext(t), stream.ConnectConfig{Context: natsContext(t, map[string]string{"url": u}), Logger: zap.New(core)})
		require.ErrorAs(t, err, &failed, "%s", u)
		require.NotContains(t, err.Error(), secret, "%s", u)
	}
	_, _, err := stream.Connect(testContext(t), stream.ConnectConfig{
		Context: natsContext(t, map[string]string{"url": s.URL(), "user": "ann", "password": secret}), Logger: zap.New(core)})
	require.ErrorIs(t, err, nats.ErrAuthorization)
	require.NotContains(t, err.Error(), secret)
	for _, e := range logs.All() {
		require.NotContains(t, fmt.Sprint(e.Message, e.ContextMap()), secret)
	}
}

func TestConnectMistakes(t *testing.T) {
	ctx := testContext(t)
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	var failed *stream.ConnectError
	for _, cfg := range []stream.ConnectConfig{
		{Context: "nothing"},
		{Context: "../x"},
		{Context: filepath.Join(t.TempDir(), "nothing.json")},
		{Context: file(t, "broken.json", []byte("{"))},
		{Context: "a", URL: "b"},
		{URL: "nats://127.0.0.1:1"},
		{URL: "nats://127.0.0.1:1", Creds: "nothing"},
		{URL: "nats://127.0.0.1:1", NKey: "nothing"},
		{URL: "nats://127.0.0.1:1", CA: "nothing"},
		{URL: "nats://127.0.0.1:1", Cert: "nothing"},
	} {
		_, _, err := stream.Connect(ctx, cfg)
		require.ErrorAs(t, err, &failed, "%+v", cfg)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, _, err := stream.Connect(over, stream.ConnectConfig{})
	require.ErrorIs(t, err, context.Canceled)
}

// A server that restarts is seen in the connection's handlers, counters and log
// only.
func TestReconnectsAreInvisible(t *testing.T) {
	ctx := testContext(t)
	core, logs := observer.New(zap.InfoLevel)
	s := restartable(t)
	back := make(chan struct{}, 8)
	nc, cfg, err := stream.Connect(ctx, stream.ConnectConfig{URL: s.s.URL(), Logger: zap.New(core), Options: []nats.Option{
		nats.ReconnectWait(10 * time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { back <- struct{}{} }),
	}})
	require.NoError(t, err)
	t.Cleanup(func() {
		closed := nc.StatusChanged(nats.CLOSED)
		nc.Close()
		<-closed
	})
	c, err := stream.NewClient(nc, cfg)
	require.NoError(t, err)
	spec := stream.TopicSpec{Name: "t"}
	createTopic(t, c, spec)
	var got collector
	r, err := c.OpenReader(ctx, spec, 0, got.config(0))
	require.NoError(t, err)
	defer r.Close()
	for i := range 3 {
		require.NoError(t, c.Publish(ctx, []stream.Outgoing{{Topic: spec, Key: fmt.Sprint(i)}}))
		s.restart(t)
		<-back
	}
	msgs := got.waitFor(t, 3)
	for i, m := range msgs {
		require.Equal(t, fmt.Sprint(i), m.Key)
	}
	require.NoError(t, got.failure())
	require.GreaterOrEqual(t, nc.Stats().Reconnects, uint64(2))
	require.NotZero(t, logs.FilterMessage("the connection to NATS is back").Len())
}
