import java.net.URL;

/** Calls the URLs that are its arguments, and prints of each the Host that the callee saw. */
class Call {
	public static void main(String[] urls) throws Exception {
		for (String url : urls)
			System.out.println(new URL(url).openConnection().getHeaderField("Saw-Host"));
	}
}
