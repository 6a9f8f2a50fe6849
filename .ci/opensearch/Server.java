import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.codelibs.opensearch.runner.OpenSearchRunner;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.node.Node;

/**
 * One OpenSearch server for tests, in this process, without its security plugin.
 *
 * Arguments: its directory, then name=value settings. Writes its address to the file `url` in there
 * once it answers, and ends when its standard input does: it never outlives who started it.
 */
public class Server {
    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Files.deleteIfExists(home.resolve("url"));
        Map<String, String> settings = new TreeMap<>(Map.of(
            "discovery.type", "single-node",
            "network.host", "127.0.0.1",
            "http.port", "0",
            "transport.port", "0"));
        for (int number = 1; number < arguments.length; number++) {
            String[] pair = arguments[number].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.onBuild((number, builder) -> settings.forEach(builder::put));
        runner.build(OpenSearchRunner.newConfigs().basePath(home.toString()).numOfNode(1).useLogger());

        Node node = runner.node();
        var address = node.injector().getInstance(HttpServerTransport.class).boundAddress().publishAddress();
        Path draft = Files.writeString(home.resolve("url.new"), "http://" + address);
        Files.move(draft, home.resolve("url"));
        while (System.in.read() >= 0) {
            // whoever started it is still there
        }
        runner.close();
        System.exit(0);
    }
}
