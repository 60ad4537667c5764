import java.net.URL;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Collection;
import java.util.List;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Calls a URL over and over, and takes other certificates when the files have changed. It ends when a call fails. */
class Client {
	public static void main(String[] args) throws Exception {
		Path link = Path.of(args[0], "..data");
		URL url = new URL(args[1]);
		String id = args[2];
		Path files = null;
		SSLContext context = null;
		while (true) {
			Path now = link.toRealPath();
			if (!now.equals(files)) {
				try {
					context = context(now);
				} catch (NoSuchFileException gone) {
					continue; // they have changed twice since
				}
				files = now;
			}
			HttpsURLConnection call = (HttpsURLConnection) url.openConnection();
			call.setSSLSocketFactory(context.getSocketFactory());
			call.setHostnameVerifier((host, session) -> true); // the ID counts
			call.connect();
			check((X509Certificate) call.getServerCertificates()[0], id);
			call.getInputStream().readAllBytes(); // fails for answers other than 2xx
		}
	}

	/** A context of the files in a directory: key and certificate belong together, whatever comes later. */
	static SSLContext context(Path files) throws Exception {
		char[] none = {};
		KeyStore own = KeyStore.getInstance("PKCS12");
		own.load(null, none);
		String key = Files.readString(files.resolve("svid_key.pem")).replaceAll("-----[^-]*-----", "");
		own.setKeyEntry("svid",
			KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getMimeDecoder().decode(key))),
			none, certificates(files.resolve("svid.pem")).toArray(Certificate[]::new));
		KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
		keys.init(own, none);

		KeyStore bundle = KeyStore.getInstance("PKCS12");
		bundle.load(null, none);
		for (Certificate c : certificates(files.resolve("svid_bundle.pem")))
			bundle.setCertificateEntry("authority " + bundle.size(), c);
		TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
		trust.init(bundle);

		SSLContext context = SSLContext.getInstance("TLS");
		context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
		return context;
	}

	static Collection<? extends Certificate> certificates(Path file) throws Exception {
		try (var in = Files.newInputStream(file)) {
			return CertificateFactory.getInstance("X.509").generateCertificates(in);
		}
	}

	/** The SPIFFE ID is the only URI in the certificate's subject alternative names. */
	static void check(X509Certificate certificate, String id) throws CertificateException {
		final int uri = 6;
		for (List<?> name : certificate.getSubjectAlternativeNames())
			if (name.get(0).equals(uri) && name.get(1).equals(id))
				return;
		throw new CertificateException("expected " + id + ", got " + certificate.getSubjectAlternativeNames());
	}
}
